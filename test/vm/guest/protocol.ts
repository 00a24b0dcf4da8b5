// What host and guest say to each other: one line of JSON per message, over a virtio serial port.

/** The name of the port, as QEMU is told it and the guest finds it. */
export const CONTROL_PORT = 'wireonce.control';

/** What the agent can do. `call` goes on to a program that `start` has started. */
export type AgentCommand =
  | { readonly do: 'ping' }
  | { readonly do: 'shell'; readonly line: string }
  | {
      readonly do: 'start';
      readonly program: string;
      readonly nodeArguments?: readonly string[];
      readonly environment?: Readonly<Record<string, string>>;
    }
  | { readonly do: 'call'; readonly program: string; readonly method: string; readonly argument?: unknown }
  | { readonly do: 'stop'; readonly program: string };

export type AgentRequest = AgentCommand & { readonly id: number };

export interface AgentReply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** Between the agent and a program of its own. */
export interface ProgramCall {
  readonly id: number;
  readonly method: string;
  readonly argument?: unknown;
}
