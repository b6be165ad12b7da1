/** Asks again until `check` gives something truthy; fails after `timeoutMs` with `what` and the last error. */
export async function eventually(what, timeoutMs, check) {
  const until = Date.now() + timeoutMs;
  let last = null;
  for (;;) {
    try {
      const result = await check();
      if (result) return result;
    } catch (error) {
      last = error;
      if (/ ended with /.test(error.message)) throw error;
    }
    if (Date.now() > until) throw new Error(`It did not come about that ${what}`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}
