export function documents(
  folder: string,
  others?: readonly string[],
): readonly { readonly path: string; readonly content: Buffer }[];
export function withPresentLinks(text: string, name: string, names: ReadonlySet<string>): string;
