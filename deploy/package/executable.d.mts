/**
 * Writes the executable for a processor to `outFile`. Returns the files that went into it and the packages of the
 * runtime.
 */
export function buildExecutable(options: {
  readonly arch: "x64" | "arm64";
  readonly outFile: string;
}): Promise<{ readonly inputs: readonly string[]; readonly packages: readonly string[] }>;
