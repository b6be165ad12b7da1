-- Capabilities: what the work may ask of hooks. Grants belong to the decision, tokens and counts to each delivery.

-- Written with the decision and never changed.
CREATE TABLE capability_grants (
  workload_id text NOT NULL REFERENCES workloads,
  number integer NOT NULL,
  hook text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('context', 'mutation')),
  operations text[] NOT NULL,
  -- Resources to the letter, and patterns of the policy's author.
  literals text[] NOT NULL,
  globs text[] NOT NULL,
  max_uses integer NOT NULL CHECK (max_uses > 0),
  ttl_ms bigint NOT NULL CHECK (ttl_ms > 0),
  PRIMARY KEY (workload_id, number)
);

-- Once revoked, no token of this workload holds and none is minted any more.
CREATE TABLE capability_revocations (
  workload_id text PRIMARY KEY REFERENCES workloads,
  revoked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor text NOT NULL,
  reason text NOT NULL
);

-- One token a delivery. No foreign key: a use must never wait for the workload's row, whose holder may wait for this one.
CREATE TABLE capability_tokens (
  workload_id text NOT NULL,
  -- Number of the delivery that an intent under the claim gets.
  delivery integer NOT NULL,
  tenant_id text NOT NULL,
  token_id text NOT NULL,
  -- SHA-256 of the whole token. Tokens are found by it, so one with a wrong secret is as unknown as any other.
  token_hash bytea NOT NULL UNIQUE,
  -- Moves with the workload, in the same statement. Closed is final for the token.
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'active', 'suspended', 'closed')),
  minted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- The handing over, from which each grant's life is counted.
  active_since timestamptz,
  -- The workload's present deadline, which ends the life of every grant.
  deadline_at timestamptz,
  closed_at timestamptz,
  close_reason text,
  -- Uses of each grant, by its number; a grant without uses may be missing.
  uses integer[] NOT NULL DEFAULT '{}',
  -- Attempts that were refused, and repeats of a use: beyond a bound they are counted only.
  refused integer NOT NULL DEFAULT 0,
  repeated integer NOT NULL DEFAULT 0,
  PRIMARY KEY (workload_id, delivery)
);

-- Uses that named themselves, so that they can be repeated.
CREATE TABLE capability_calls (
  workload_id text NOT NULL,
  delivery integer NOT NULL,
  key_hash bytea NOT NULL,
  request_hash bytea NOT NULL,
  answer jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (workload_id, delivery, key_hash)
);
CREATE INDEX capability_calls_by_age ON capability_calls (created_at);

-- Attempts with tokens that are none, which are bounded for each caller.
CREATE INDEX audit_capability_strangers ON audit (actor, at) WHERE type = 'capability.refused' AND workload_id IS NULL;

-- Whether a pattern of a policy fits a resource: `*` is any run of characters, `?` is one, all else is itself.
CREATE FUNCTION capability_glob_fits(resource text, glob text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT resource LIKE translate(
    replace(replace(replace(glob, '\', '\\'), '%', '\%'), '_', '\_'), '*?', '%_')
$$;

-- Judges one attempt, counts it if it is allowed, and records it either way; one round trip. The token's row is the only lock
-- taken. `refusals_recorded` bounds the audit rows of refusals and repeats of a delivery, `strangers_a_minute` those of a caller.
CREATE FUNCTION authorize_capability(
  asked_hash bytea, asked_token_id text, asked_tenant text, asking text,
  asked_hook text, asked_kind text, asked_operation text, asked_resource text,
  asked_key bytea, asked_request bytea, refusals_recorded integer, strangers_a_minute integer
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  token capability_tokens%ROWTYPE;
  current_state text;
  current_delivery integer;
  best record;
  earlier capability_calls%ROWTYPE;
  now_at timestamptz := clock_timestamp();
  why text;
  used integer;
  answer jsonb;
  attempt jsonb := jsonb_build_object('hook', asked_hook, 'kind', asked_kind, 'operation', asked_operation,
    'resource', asked_resource, 'token_id', asked_token_id);
BEGIN
  SELECT * INTO token FROM capability_tokens WHERE token_hash = asked_hash AND tenant_id = asked_tenant FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO audit (tenant_id, type, actor, detail)
    SELECT asked_tenant, 'capability.refused', asking, attempt || '{"reason": "unknown"}'
    WHERE (SELECT count(*) FROM audit a WHERE a.type = 'capability.refused' AND a.workload_id IS NULL
             AND a.actor = asking AND a.at > now_at - interval '1 minute') < strangers_a_minute;
    RETURN '{"allowed": false, "reason": "unknown"}';
  END IF;

  -- The wait for the row is over only now.
  now_at := clock_timestamp();
  attempt := attempt || jsonb_build_object('delivery', token.delivery);
  SELECT w.state, w.delivery INTO current_state, current_delivery FROM workloads w WHERE w.workload_id = token.workload_id;
  IF token.delivery < current_delivery THEN
    why := 'wrong_delivery';
  ELSIF token.state = 'closed' THEN
    why := 'closed';
  ELSIF token.state = 'suspended' OR current_state = 'preempted' THEN
    why := 'suspended';
  -- A process of an older version changes the workload without the token.
  ELSIF token.state <> 'active' OR token.delivery <> current_delivery OR current_state NOT IN ('delivered', 'running') THEN
    why := 'closed';
  ELSE
    SELECT judged.*, judged.ends_at <= now_at AS expired, judged.used >= judged.max_uses AS spent INTO best
    FROM (
      SELECT g.number, g.max_uses, coalesce(token.uses[g.number], 0) AS used,
        least(token.active_since + g.ttl_ms * interval '1 millisecond', token.deadline_at) AS ends_at,
        asked_resource = ANY (g.literals)
          OR EXISTS (SELECT 1 FROM unnest(g.globs) glob WHERE capability_glob_fits(asked_resource, glob)) AS fits
      FROM capability_grants g
      WHERE g.workload_id = token.workload_id AND g.hook = asked_hook AND g.kind = asked_kind
        AND asked_operation = ANY (g.operations)
    ) judged
    ORDER BY judged.fits DESC, judged.ends_at <= now_at, judged.used >= judged.max_uses, judged.number LIMIT 1;
    why := CASE WHEN best IS NULL THEN 'operation_not_granted' WHEN NOT best.fits THEN 'resource_not_granted'
      WHEN best.expired THEN 'expired' END;
    IF why IS NULL AND asked_key IS NOT NULL THEN
      SELECT * INTO earlier FROM capability_calls c
      WHERE c.workload_id = token.workload_id AND c.delivery = token.delivery AND c.key_hash = asked_key;
      IF FOUND AND earlier.request_hash = asked_request THEN
        UPDATE capability_tokens SET repeated = repeated + 1
        WHERE workload_id = token.workload_id AND delivery = token.delivery;
        IF token.refused + token.repeated < refusals_recorded THEN
          INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
          VALUES (token.tenant_id, token.workload_id, 'capability.repeated', asking, attempt);
        END IF;
        RETURN earlier.answer || '{"repeated": true}';
      ELSIF FOUND THEN
        why := 'idempotency_conflict';
      END IF;
    END IF;
    IF why IS NULL AND best.spent THEN
      why := 'exhausted';
    END IF;
  END IF;

  IF why IS NOT NULL THEN
    UPDATE capability_tokens SET refused = refused + 1 WHERE workload_id = token.workload_id AND delivery = token.delivery;
    IF token.refused + token.repeated < refusals_recorded THEN
      INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
      VALUES (token.tenant_id, token.workload_id, 'capability.refused', asking, attempt || jsonb_build_object('reason', why));
    END IF;
    RETURN jsonb_build_object('allowed', false, 'reason', why);
  END IF;

  used := best.used + 1;
  UPDATE capability_tokens SET uses[best.number] = used
  WHERE workload_id = token.workload_id AND delivery = token.delivery;
  answer := jsonb_build_object('allowed', true, 'workload_id', token.workload_id, 'delivery', token.delivery, 'use', used,
    'remaining', best.max_uses - used, 'expires_at', best.ends_at);
  IF asked_key IS NOT NULL THEN
    INSERT INTO capability_calls (workload_id, delivery, key_hash, request_hash, answer)
    VALUES (token.workload_id, token.delivery, asked_key, asked_request, answer);
  END IF;
  INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
  VALUES (token.tenant_id, token.workload_id, 'capability.used', asking,
    attempt || jsonb_build_object('grant', best.number, 'use', used, 'remaining', best.max_uses - used));
  RETURN answer;
END $$;
