# Evaluates the module and the flake without the rest of NixOS: options of others are declared as loosely as they are used.
# { lib, settings }: the configuration that results, as JSON. Used by test/unit/nixos-module.test.ts.
{
  lib,
  settings ? { },
}:

let
  inherit (lib) mkOption types;
  free = mkOption {
    type = types.attrsOf types.anything;
    default = { };
  };
  listOf =
    type:
    mkOption {
      type = types.listOf type;
      default = [ ];
    };
  fake = name: {
    type = "derivation";
    inherit name;
    outPath = "/nix/store/00000000000000000000000000000000-${name}";
  };
  pkgs = {
    opencrow-workloadd = fake "opencrow-workloadd";
    coreutils = fake "coreutils";
    runtimeShell = "/bin/sh";
    stdenv.hostPlatform.system = "x86_64-linux";
  };
  nixos = {
    options = {
      assertions = listOf types.attrs;
      warnings = listOf types.str;
      environment.systemPackages = listOf types.anything;
      users.users = free;
      users.groups = free;
      services.postgresql = free;
      systemd.services = free;
    };
  };
  evaluate =
    module:
    (lib.evalModules {
      modules = [
        nixos
        module
        {
          _module.args.pkgs = pkgs;
          services.opencrow-workloadd = settings;
        }
      ];
    }).config;
  config = evaluate ./module.nix;

  # The flake with a nixpkgs that only says what it is asked for.
  outputs = (import ../flake.nix).outputs {
    self = outputs;
    nixpkgs = {
      inherit lib;
      legacyPackages = lib.genAttrs [ "x86_64-linux" ] (system: {
        callPackage = path: _: fake "${baseNameOf path}-${system}";
      });
    };
  };

  packageArguments = (import ./package.nix) {
    npmRegistry = "https://npm.example";
    inherit lib;
    stdenv = {
      hostPlatform.isLinux = true;
      cc.cc.lib = "libstdc++";
    };
    buildNpmPackage = lib.id;
    importNpmLock = {
      __functor = _: lib.id;
      npmConfigHook = "hook";
    };
    autoPatchelfHook = "autoPatchelfHook";
    nodejs_22 = "nodejs_22";
  };
in
{
  inherit (config) warnings;
  failures = map (each: each.message) (lib.filter (each: !each.assertion) config.assertions);
  units = config.systemd.services;
  users = config.users.users;
  groups = config.users.groups;
  postgresql = config.services.postgresql;
  flake = {
    packages = lib.mapAttrs (_: lib.mapAttrs (_: each: each.name)) outputs.packages;
    overlay = (outputs.overlays.default { callPackage = path: _: baseNameOf path; } { }).opencrow-workloadd;
    modules = lib.attrNames outputs.nixosModules;
    unitProgram = (evaluate outputs.nixosModules.default).systemd.services.opencrow-workloadd-api.serviceConfig.ExecStart or null;
  };
  package = {
    inherit (packageArguments) pname version meta;
    unresolved = lib.attrNames (
      lib.filterAttrs (path: each: path != "" && !(each ? resolved) && !(each.link or false)) packageArguments.npmDeps.packageLock.packages
    );
    example = packageArguments.npmDeps.packageLock.packages."node_modules/@temporalio/client".resolved;
  };
}
