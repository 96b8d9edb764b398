export const LEAVE_RUNTIMES: string;
export const OWN_UNITS: string;
export function fillIn(template: string, values: Readonly<Record<string, string>>): string;
