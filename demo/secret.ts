// What nobody but a clone and its peer should know.
// Promises: nothing of demo/attack imports it.
// Read on: public-knowledge.ts (what everybody knows).

/** What the second clone says while the first asks for its health, word for word as long as that. */
export const SECRET = 'POST /pay HTTP/1.1  card=4111111111111111 cvc=737 name=A.Turing ';
