/** The part of Bun's own foreign function interface that koffi-bun.ts uses. */
declare module "bun:ffi" {
  interface CFunction {
    readonly args: readonly string[];
    readonly returns: string;
  }

  /** Finds functions in a shared library. They take numbers, and typed arrays where C takes pointers. */
  export function dlopen<Name extends string>(
    library: string,
    functions: Readonly<Record<Name, CFunction>>,
  ): { readonly symbols: Readonly<Record<Name, (...args: readonly unknown[]) => number>> };

  export const read: {
    /** The C `int` at an address. */
    readonly i32: (address: number, offset: number) => number;
  };

  /** Where a typed array's bytes are. */
  export function ptr(bytes: Uint8Array): number;
}
