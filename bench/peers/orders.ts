// How a program of the bench takes orders: one after the other, each answered when it is done.
// Promises: it ends when told to, and when whoever gives the orders is gone.
// Read on: messages.ts.

import type { Done, Order } from './messages.js';

export function answerOrders(carryOut: (order: Order) => void): void {
  process.on('message', (order: Order) => {
    let error: string | undefined;
    try {
      carryOut(order);
    } catch (thrown) {
      error = (thrown as Error).message;
    }
    const answer: Done = { done: order.do, ...(error !== undefined && { error }) };
    process.send?.(answer, () => {
      if (order.do === 'end') process.disconnect();
    });
  });
  process.once('disconnect', () => process.exit());
}
