// Why there are no virtual machines here, in one sentence that says what to do.

export class VmUnavailableError extends Error {
  override readonly name = 'VmUnavailableError';
}
