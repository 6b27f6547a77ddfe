/** What is kept and said of a job's error: its code, where it has one, and its message, at most 1,000 characters. */
export function failureText(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return `${typeof code === 'string' ? `${code}: ` : ''}${error instanceof Error ? error.message : String(error)}`.slice(0, 1_000);
}
