"""A worker of one's own for opencrow-workloadd, as docs/worker-protocol.md says. Its work is `do_work`: put yours there.
Settings: WORKLOADD_API_URL, WORKLOADD_WORKER_ID, WORKLOADD_WORKER_CREDENTIAL_FILE; TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, …"""
import asyncio, http.client, json, os, secrets, signal, sys, time, typing, urllib.parse
from datetime import timedelta
from pathlib import Path

from temporalio import activity
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

Json = dict[str, typing.Any]
API, WORKER_ID = urllib.parse.urlsplit(os.environ["WORKLOADD_API_URL"]), os.environ["WORKLOADD_WORKER_ID"]
CREDENTIAL_FILE = Path(os.environ["WORKLOADD_WORKER_CREDENTIAL_FILE"])
PASSING = {"unavailable", "capacity.worker", "capacity.pool", "lease.held", "rate_limit.exceeded", "auth.backoff"}
NOT_NEEDED = {"workload.not_needed", "delivery.maybe_written", "not_found"}
held: set[str] = set()


class Refused(Exception):
    """The control plane said no, with a problem document; or it was not there, with the code `unavailable`."""
    def __init__(self, status: int, problem: Json, retry_after: float = 0) -> None:
        self.status, self.problem, self.code, self.retry_after = status, problem, problem["code"], retry_after


def post(path: str, body: Json, lease: Json = {}) -> Json:  # follows no redirect: the credential would go along
    kind = http.client.HTTPSConnection if API.scheme == "https" else http.client.HTTPConnection
    connection = kind(API.netloc, timeout=10)
    url = f"{API.path.rstrip('/')}/api/workers/{WORKER_ID}/{path}"
    try:
        headers = {"Authorization": f"Bearer {CREDENTIAL_FILE.read_text().strip()}", "Connection": "close"} | lease
        connection.request("POST", url, json.dumps(body), headers | {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException):
        raise Refused(0, {"code": "unavailable"}) from None
    if answer.status >= 300:
        ours = answer.status < 500 and answer.headers.get_content_type() == "application/problem+json"
        wait = answer.headers.get("Retry-After", "")  # a proxy may give a date
        raise Refused(answer.status, told if ours else {"code": "unavailable"}, float(wait) if wait.isdigit() else 0)
    return told


async def insist(path: str, body: Json, lease: Json = {}) -> Json:
    """Asks until there is an answer or a refusal that does not pass. Every request may be repeated as it is."""
    while True:
        activity.heartbeat()
        try:
            return await asyncio.to_thread(post, path, body, lease)
        except Refused as refused:
            if refused.code not in PASSING:
                raise
            await asyncio.sleep(min(max(refused.retry_after, 0.5), 15))


async def do_work(claim: Json, lease: Json) -> str | None:
    """The work: waits, and tells of it. Returns a short code of why it failed, or None. Cancelled when its lease is over."""
    async def tell(number: int, kind: str, payload: Json) -> None:
        event = {"event_id": f"{claim['delivery_id']}.{number}", "type": kind, "payload": payload}
        event["sequence"] = claim["delivery_number"] * 1_000_000 + number  # grows from delivery to delivery too
        await insist(f"work/{claim['work_id']}/events", {"events": [event]}, lease)
    asked = claim["event"]["data"]
    await tell(1, "work.begun", {"prompt": claim["trigger"]["prompt"]})
    await asyncio.sleep(asked.get("seconds", 1))
    await tell(2, "work.done", {"seconds": asked.get("seconds", 1)})
    return "asked_to_fail" if asked.get("fail") else None


async def work_under_lease(claim: Json, lease: Json, ends: float) -> Json:
    """Renews every third of the lease's life while the work goes on, which ends with it. Returns how the work ended."""
    job, renew_at = asyncio.create_task(do_work(claim, lease)), 0.0
    try:
        while not job.done():
            if (now := time.monotonic()) >= ends:
                raise Refused(0, {"code": "unavailable"})
            try:
                activity.heartbeat()
                if now >= renew_at:
                    told = await asyncio.to_thread(post, f"leases/{claim['work_id']}/renew", {"running": True}, lease)
                    ends, renew_at = now + told["ttl_ms"] / 1000, now + told["ttl_ms"] / 3000
                await asyncio.wait([job], timeout=min(renew_at - now, 2))
            except asyncio.CancelledError:
                renew_at = 0.0  # whether the work is to end is for the ledger to say: ask it now
            except Refused as refused:
                if refused.code not in PASSING | {"worker.paused"}:
                    raise
                await asyncio.wait([job], timeout=1)
        failure = "defect" if job.exception() and not isinstance(job.exception(), Refused) else job.result()
        return {"status": "failed", "code": failure} if failure else {"status": "completed"}
    except Refused as refused:
        if refused.code != "lease.stale":
            raise
        return {"status": "cancelled"}  # taken only if the workload was cancelled
    finally:
        job.cancel()


@activity.defn(name="execute")
async def execute(task: Json) -> Json:
    """One workload that Temporal gave us, from its claim to its reported end."""
    result = lambda outcome, told: {"outcome": outcome, "state": told.get("state"), "wait_ms": told.get("wait_ms")}
    held.add(work_id := task["work_id"])
    try:
        claim = await insist("claims", {"work_id": work_id, "claim_key": secrets.token_urlsafe(24)})
        lease, asked_at = {"Lease-Token": claim["lease_token"]}, time.monotonic()
        intent = await insist(f"leases/{work_id}/intent", {"intent_key": secrets.token_urlsafe(24)}, lease)
        end = await work_under_lease(claim, lease, asked_at + intent["ttl_ms"] / 1000)
        return result("finished", await insist(f"work/{work_id}/run-status", end, lease))
    except Refused as refused:
        if refused.code in NOT_NEEDED | {"lease.stale"}:
            return result("not_needed" if refused.code in NOT_NEEDED else "maybe_run", refused.problem)
        raise ApplicationError(refused.code, next_retry_delay=timedelta(seconds=refused.retry_after or 10)) from None
    finally:
        held.discard(work_id)


async def main() -> int:
    """Tells the control plane that this worker lives, and does what it answers. Returns the exit code."""
    client = await Client.connect(**ClientConfig.load_client_connect_config())
    worker, polling, duty, every, sequence = None, None, "wait", 5.0, time.time_ns() // 1_000_000
    stop = asyncio.create_task(asyncio.sleep(10**9))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.cancel)
    while True:
        beat = {"version": "example-1", "protocol_version": 1, "executors": ["managed"], "sequence": sequence,
                "current_load": len(held), "active_work_ids": sorted(held)}
        try:
            me = (await asyncio.to_thread(post, "heartbeat", beat))["worker"]
            duty, every = me["duty"], me["heartbeat_every_ms"] / 1000
        except Refused as refused:
            print(f"no answer to a heartbeat: {refused.code}", file=sys.stderr)
            duty, every = {"auth.required": "stop", "worker.version_incompatible": "drain"}.get(refused.code, duty), 5.0
            sequence = max(sequence, refused.problem.get("last", 0))
        if duty == "stop":
            os._exit(4)  # at once, with all that is held
        duty, sequence = "drain" if stop.done() else duty, sequence + 1
        polling = polling.result() if polling and polling.done() else polling
        if duty == "work" and not polling:
            queue, slots = f"pool:{me['pool_id']}:managed", me["max_open_deliveries"]
            worker = Worker(
                client, task_queue=queue, activities=[execute], max_concurrent_activities=slots,
                max_heartbeat_throttle_interval=timedelta(seconds=2), graceful_shutdown_timeout=timedelta(days=7))
            polling = asyncio.create_task(worker.run())
        elif duty != "work" and polling:
            asyncio.create_task(worker.shutdown())
        if duty == "drain" and not polling:
            return 0
        await asyncio.wait({t for t in (stop, polling) if t and not t.done()}, timeout=every, return_when="FIRST_COMPLETED")

sys.exit(asyncio.run(main()))
