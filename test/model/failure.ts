/**
 * What a promise rejects with, or undefined.
 *
 * `expect(promise).rejects` would do, but the runner keeps every such promise to the end of the test,
 * and with it the database that the error's stack speaks of: thousands of them.
 */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return undefined;
}
