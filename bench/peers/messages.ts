// What the bench and its two programs in the namespaces tell each other, over Node's channel between processes.

/** To the crowd, once: who they are, and whom they call. Keys in hexadecimal. */
export interface CrowdSettings {
  readonly privateKeys: readonly string[];
  readonly gatewayPublicKey: string;
  readonly gatewayAddress: string;
}

/** To the crowd: send for so long, or send no more and end. To the traffic: send to so many peers. */
export type Order =
  | { readonly do: 'connect'; readonly settings: CrowdSettings }
  | { readonly do: 'send'; readonly peers: number; readonly seconds: number; readonly packetBytes: number }
  | { readonly do: 'end' };

/** Each order is answered when it is done. */
export interface Done {
  readonly done: Order['do'];
  readonly error?: string;
}
