// The generation ID of a container, where whoever restores it says that in its environment.

/** A GUID, another one for each container that is started or restored. */
export const GENERATION_VARIABLE = 'WIREONCE_GENERATION_ID';

/** Its value among variables that each end with a zero; undefined where it is not there, and where it is cut off. */
export function variableOf(environ: string): string | undefined {
  const before = `${GENERATION_VARIABLE}=`;
  const variables = environ.split('\0').slice(0, -1);
  return variables.find(variable => variable.startsWith(before))?.slice(before.length);
}
