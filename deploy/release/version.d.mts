export function isVersion(text: string): boolean;
export function greatest(versions: readonly string[]): string | null;
export function isGreater(one: string, other: string): boolean;
