// What makes a module a program that the agent can start and call.

import type { AgentReply, ProgramCall } from './protocol.js';

export type Methods = Readonly<Record<string, (argument: never) => unknown>>;

/** Answers calls of the agent until the process ends. */
export function serve(methods: Methods): void {
  process.on('message', message => {
    const { id, method, argument } = message as ProgramCall;
    void Promise.resolve()
      .then(() => {
        if (!Object.hasOwn(methods, method)) throw new Error(`no method ${method}`);
        return methods[method](argument as never);
      })
      .then(
        result => reply({ id, result }),
        (error: unknown) => reply({ id, error: (error as Error).message }),
      );
  });
  reply({ id: 0 });
}

function reply(message: AgentReply): void {
  process.send?.(message);
}
