export const ARCHITECTURES: readonly string[];
export function hasCompiler(): boolean;
export function runtimeFor(arch: string): { readonly name: string; readonly file: string };
