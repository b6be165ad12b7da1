# services.opencrow-workloadd: the api, the control worker and one pool worker beside OpenCrow, as units of their own. See docs/nixos.md.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib)
    concatStringsSep
    elem
    hasInfix
    mkEnableOption
    mkIf
    mkOption
    optional
    optionalAttrs
    types
    ;
  cfg = config.services.opencrow-workloadd;
  user = "opencrow-workloadd";
  stateDir = "/var/lib/opencrow-workloadd";
  workloadd = "${cfg.package}/bin/workloadd";

  localUrl = "postgresql://${user}@localhost/${user}?host=/run/postgresql";
  local = cfg.database.createLocally;
  urlFromFile = cfg.database.urlFile != null;

  isGroupId = builtins.match "[0-9]+" cfg.lifecycleSocketGroup != null;
  runtimeDir = "/run/opencrow-workloadd";
  ownRuntimeDir = dirOf cfg.lifecycleSocket == runtimeDir;

  tooLate = lib.unique (lib.filter (unit: elem unit cfg.openCrowUnits) (cfg.after ++ cfg.requires));

  enrolled = cfg.worker.credentialFile == null;
  credentialFile = if enrolled then "${stateDir}/worker.credential" else "%d/worker-credential";

  hardening = {
    User = user;
    Group = user;
    UMask = "0077";
    NoNewPrivileges = true;
    ProtectSystem = "strict";
    ProtectHome = true;
    PrivateTmp = true;
    PrivateDevices = true;
    ProtectClock = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectControlGroups = true;
    RestrictAddressFamilies = [
      "AF_UNIX"
      "AF_INET"
      "AF_INET6"
      "AF_NETLINK"
    ];
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    LockPersonality = true;
    CapabilityBoundingSet = "";
    SystemCallArchitectures = "native";
    SystemCallFilter = "@system-service";
    SystemCallErrorNumber = "EPERM";
    # Not MemoryDenyWriteExecute: Node compiles while it runs.
    StateDirectory = "opencrow-workloadd";
    StateDirectoryMode = "0700";
  };

  serving = hardening // {
    Type = "exec";
    TimeoutStopSec = "100s";
    Restart = "always";
    RestartSec = "5s";
    RestartPreventExitStatus = 2;
  };

  # Each step may be repeated.
  oneshot = hardening // {
    Type = "oneshot";
    RemainAfterExit = true;
    Restart = "on-failure";
    RestartSec = "5s";
  };

  temporal = {
    TEMPORAL_ADDRESS = cfg.temporal.address;
    TEMPORAL_NAMESPACE = cfg.temporal.namespace;
  };

  ledgerEnvironment =
    temporal
    // cfg.environment
    // (
      if urlFromFile then
        { WORKLOADD_DATABASE_URL_FILE = "%d/ledger-url"; }
      else
        { WORKLOADD_DATABASE_URL = cfg.database.url; }
    );
  ledgerCredential = optional urlFromFile "ledger-url:${cfg.database.urlFile}";
  ledgerAfter = [ "network-online.target" ] ++ optional local "postgresql.target" ++ optional local "postgresql.service";
in
{
  imports = [
    (lib.mkRemovedOptionModule [ "services" "opencrow-workloadd" "dbPath" ] ''
      The ledger is a Postgres database now, not an SQLite file. Remove the option: by default a database of
      services.postgresql is used, over its socket and by peer authentication; another one is named by
      services.opencrow-workloadd.database.url or .urlFile. An SQLite ledger cannot be read by this version: keep its file as a record.
    '')
  ];

  options.services.opencrow-workloadd = {
    enable = mkEnableOption "opencrow-workloadd, the workload policy and ledger service beside OpenCrow";

    package = mkOption {
      type = types.package;
      default = pkgs.opencrow-workloadd;
      defaultText = lib.literalExpression "pkgs.opencrow-workloadd";
      description = "The program; that of the flake, or of its overlay.";
    };

    listenAddr = mkOption {
      type = types.str;
      default = "127.0.0.1:8766";
      description = "Address of the HTTP API, HOST:PORT. Nothing is opened in the firewall.";
    };

    tokenFile = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/run/secrets/n8n-hooks-mutation-token";
      description = ''
        File with the bearer token that the connectors present to the API: for n8n, the token of its mutation hooks. It is registered at
        start in tenant `default` with the scopes of `tokenScopes`; the ledger keeps its hash only. At least 32 characters. Systemd reads it as
        root (LoadCredential), so it may be 0400 root. It must not lie where OpenCrow's user can read it: in particular not among the
        credentials of opencrow.service.
      '';
    };

    tokenScopes = mkOption {
      type = types.listOf types.str;
      default = [
        "events:write"
        "workloads:read"
        "capabilities:authorize"
        "sources:write"
      ];
      description = "What the token of `tokenFile` may do.";
    };

    database = {
      url = mkOption {
        type = types.str;
        default = localUrl;
        example = "postgresql://opencrow-workloadd@db.internal/ledger?sslmode=verify-full";
        description = "URL of the ledger's database. It gets into the Nix store, so it must not hold a password: see `urlFile`.";
      };
      urlFile = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "File with the URL, when it holds a password. Goes before `url`.";
      };
      createLocally = mkOption {
        type = types.bool;
        default = cfg.database.url == localUrl && !urlFromFile;
        defaultText = "true while neither url nor urlFile is set";
        description = "Enable services.postgresql, with a database and a role of the service's own that its Unix user alone opens (peer).";
      };
    };

    temporal = {
      address = mkOption {
        type = types.str;
        default = "127.0.0.1:7233";
        description = "gRPC address of the Temporal server. More (TLS, API key) by `environment`, with the variables of Temporal's SDKs.";
      };
      namespace = mkOption {
        type = types.str;
        default = "default";
        description = "Namespace there.";
      };
    };

    triggerPipe = mkOption {
      type = types.str;
      default = "/var/lib/opencrow/sessions/trigger.pipe";
      description = "OpenCrow's trigger pipe: the real path on the host, no symbolic link.";
    };

    lifecycleSocket = mkOption {
      type = types.str;
      default = "${runtimeDir}/lifecycle.sock";
      description = "Socket for OpenCrow's lifecycle events: its OPENCROW_WORKLOAD_LIFECYCLE_SOCKET.";
    };

    lifecycleSocketGroup = mkOption {
      type = types.str;
      default = "opencrow";
      description = "Group, name or number, of the socket and of the pipe. OpenCrow's user must be in it; in a container, by its number.";
    };

    openCrowUnits = mkOption {
      type = types.listOf types.str;
      default = [
        "opencrow.service"
        "container@opencrow.service"
      ];
      description = "Units of OpenCrow on this host. The lifecycle socket is bound before they start.";
    };

    after = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Further units that the pool worker starts after. OpenCrow's units here lose lifecycle events, and warn.";
    };

    requires = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Further units that the pool worker requires. OpenCrow's units here lose lifecycle events, and warn.";
    };

    worker = {
      id = mkOption {
        type = types.str;
        default = "nixos";
        description = "Id of the pool worker beside OpenCrow.";
      };
      pool = mkOption {
        type = types.str;
        default = "default";
        description = "Pool it belongs to.";
      };
      credentialFile = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "Its credential. Null: it is enrolled here at each start and once a month.";
      };
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        WORKLOADD_LOG_LEVEL = "debug";
      };
      description = "Further variables of all units: see docs/configuration.md. No secrets: they get into the Nix store.";
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = builtins.match "[a-z]+://[^/@:]*:[^/@]+@.*" cfg.database.url == null;
        message = "services.opencrow-workloadd.database.url holds a password, and everybody can read the Nix store: put the URL into a file and name that by database.urlFile.";
      }
      {
        assertion = cfg.tokenFile == null || !hasInfix "/credentials/opencrow.service/" cfg.tokenFile;
        message = "services.opencrow-workloadd.tokenFile (${toString cfg.tokenFile}) is a credential of OpenCrow's unit, which the agent can read: give the service a file of its own, such as /run/secrets/n8n-hooks-mutation-token.";
      }
      {
        assertion = cfg.tokenFile == null || !lib.hasPrefix builtins.storeDir cfg.tokenFile;
        message = "services.opencrow-workloadd.tokenFile is in the Nix store, which everybody can read: name a path outside it, as a string.";
      }
    ];

    warnings = optional (tooLate != [ ]) ''
      services.opencrow-workloadd is ordered after, or requires, ${concatStringsSep ", " tooLate}. OpenCrow works off its old queue as soon as it
      starts and repeats nothing that nobody heard: started after it, the service loses the first lifecycle events (their workloads are `lost`
      at their start deadline); stopped before it, it loses the last ones. Remove the unit from `after` and `requires`: the service binds its
      socket before OpenCrow starts, and needs no OpenCrow to run.
    '';

    environment.systemPackages = [ cfg.package ];

    users.users.${user} = {
      isSystemUser = true;
      group = user;
      description = "OpenCrow workload service";
      home = stateDir;
    };
    users.groups = {
      ${user} = { };
    }
    // optionalAttrs (!isGroupId) { ${cfg.lifecycleSocketGroup} = { }; };

    services.postgresql = mkIf local {
      enable = true;
      ensureDatabases = [ user ];
      ensureUsers = [
        {
          name = user;
          ensureDBOwnership = true;
        }
      ];
    };

    systemd.services = {
      # Before the others: schema, the connectors' token, the worker's credential.
      opencrow-workloadd-setup = {
        description = "OpenCrow workload service: set-up";
        wantedBy = [ "multi-user.target" ];
        wants = [ "network-online.target" ];
        after = ledgerAfter;
        requires = optional local "postgresql.service";
        environment = ledgerEnvironment;
        script = ''
          ${workloadd} migrate
          ${lib.optionalString (cfg.tokenFile != null) ''
            ${workloadd} token import --name nixos --scopes ${concatStringsSep "," cfg.tokenScopes} --file "$CREDENTIALS_DIRECTORY/token"
          ''}
          ${lib.optionalString enrolled ''
            ${workloadd} worker enroll --worker-id ${lib.escapeShellArg cfg.worker.id} --pool ${lib.escapeShellArg cfg.worker.pool} --out ${stateDir}/worker.credential
          ''}
        '';
        serviceConfig = oneshot // {
          LoadCredential = ledgerCredential ++ optional (cfg.tokenFile != null) "token:${cfg.tokenFile}";
        };
      };

      # Apart from the rest, so that OpenCrow and its listener do not wait for Temporal.
      opencrow-workloadd-temporal = {
        description = "OpenCrow workload service: search attributes in Temporal";
        wantedBy = [ "multi-user.target" ];
        wants = [ "network-online.target" ];
        after = [ "network-online.target" ];
        environment = temporal // cfg.environment;
        script = "${workloadd} temporal setup";
        serviceConfig = oneshot;
      };

      opencrow-workloadd-api = {
        description = "OpenCrow workload service: api";
        wantedBy = [ "multi-user.target" ];
        wants = [ "network-online.target" ];
        after = ledgerAfter ++ [ "opencrow-workloadd-setup.service" ];
        requires = [ "opencrow-workloadd-setup.service" ];
        environment = ledgerEnvironment // {
          WORKLOADD_LISTEN = cfg.listenAddr;
          WORKLOADD_ARTIFACTS_DIR = "${stateDir}/artifacts";
        };
        serviceConfig = serving // {
          ExecStart = "${workloadd} api";
          LoadCredential = ledgerCredential;
        };
      };

      opencrow-workloadd-control = {
        description = "OpenCrow workload service: control worker";
        wantedBy = [ "multi-user.target" ];
        wants = [ "network-online.target" ];
        after = ledgerAfter ++ [
          "opencrow-workloadd-setup.service"
          "opencrow-workloadd-temporal.service"
        ];
        requires = [ "opencrow-workloadd-setup.service" ];
        environment = ledgerEnvironment;
        serviceConfig = serving // {
          ExecStart = "${workloadd} control";
          LoadCredential = ledgerCredential;
        };
      };

      # It has no database. Its socket must be there before OpenCrow speaks, and until it has spoken its last.
      opencrow-workloadd-worker = {
        description = "OpenCrow workload service: pool worker ${cfg.worker.id}";
        wantedBy = [ "multi-user.target" ];
        wants = [ "network-online.target" ] ++ optional enrolled "opencrow-workloadd-setup.service";
        after = [ "network-online.target" ] ++ optional enrolled "opencrow-workloadd-setup.service" ++ cfg.after;
        before = lib.subtractLists cfg.after cfg.openCrowUnits;
        inherit (cfg) requires;
        environment =
          temporal
          // cfg.environment
          // {
            WORKLOADD_API_URL = "http://${
              builtins.replaceStrings [ "0.0.0.0" "[::]" ] [ "127.0.0.1" "[::1]" ] cfg.listenAddr
            }";
            WORKLOADD_POOL = cfg.worker.pool;
            WORKLOADD_WORKER_ID = cfg.worker.id;
            WORKLOADD_WORKER_CREDENTIAL_FILE = credentialFile;
            WORKLOADD_TRIGGER_PIPE = cfg.triggerPipe;
            WORKLOADD_LIFECYCLE_SOCKET = cfg.lifecycleSocket;
            WORKLOADD_LIFECYCLE_SOCKET_GROUP = cfg.lifecycleSocketGroup;
            WORKLOADD_SPOOL_DIR = "${stateDir}/spool-${cfg.worker.id}";
          };
        serviceConfig =
          serving
          // {
            SupplementaryGroups = [ cfg.lifecycleSocketGroup ];
            ExecStart = "${workloadd} worker";
            ExecStartPost = "${pkgs.runtimeShell} -c 'until test -S ${cfg.lifecycleSocket}; do ${pkgs.coreutils}/bin/sleep 0.2; done'";
            TimeoutStartSec = "2min";
            # A drained worker is done too, and one that is let in no more or does not fit its pool is not helped by another start.
            RestartPreventExitStatus = "0 2 3 4 5";
            LoadCredential = optional (!enrolled) "worker-credential:${cfg.worker.credentialFile}";
          }
          // optionalAttrs ownRuntimeDir {
            RuntimeDirectory = "opencrow-workloadd";
            RuntimeDirectoryMode = "0755";
            RuntimeDirectoryPreserve = "restart";
          }
          // optionalAttrs (!ownRuntimeDir) { ReadWritePaths = [ (dirOf cfg.lifecycleSocket) ]; };
      };

      # Credentials live 90 days; the worker reads the file again for each request.
      opencrow-workloadd-enroll = mkIf enrolled {
        description = "OpenCrow workload service: renew the worker's credential";
        startAt = "monthly";
        after = [ "opencrow-workloadd-setup.service" ];
        environment = ledgerEnvironment;
        script = ''
          ${workloadd} worker enroll --worker-id ${lib.escapeShellArg cfg.worker.id} --pool ${lib.escapeShellArg cfg.worker.pool} --out ${stateDir}/worker.credential
        '';
        serviceConfig = hardening // {
          Type = "oneshot";
          LoadCredential = ledgerCredential;
        };
      };
    };
  };
}
