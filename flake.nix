{
  description = "Durable workload service for OpenCrow: package, overlay and NixOS module";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      # aarch64-linux needs the hash of node-unix-socket's library for it in package-lock.json: see docs/nixos.md.
      forSystems = nixpkgs.lib.genAttrs [ "x86_64-linux" ];
      module =
        { lib, pkgs, ... }:
        {
          imports = [ ./nix/module.nix ];
          services.opencrow-workloadd.package =
            lib.mkDefault
              self.packages.${pkgs.stdenv.hostPlatform.system}.opencrow-workloadd;
        };
    in
    {
      packages = forSystems (
        system:
        let
          opencrow-workloadd = nixpkgs.legacyPackages.${system}.callPackage ./nix/package.nix { };
        in
        {
          inherit opencrow-workloadd;
          default = opencrow-workloadd;
        }
      );

      overlays.default = final: _prev: {
        opencrow-workloadd = final.callPackage ./nix/package.nix { };
      };

      nixosModules = {
        opencrow-workloadd = module;
        default = module;
      };
    };
}
