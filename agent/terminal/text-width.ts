/** How much of a line a text takes on a terminal. Pure. */

/** Two places each: classes W and F of UAX #11. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|\p{Script=Han}/gu;
/** Marks take the place of the character before. */
const MARKS = /\p{M}/gu;

/** Places of a text without styles and tabs. */
export function displayWidth(text: string): number {
  return [...text].length + countOf(WIDE, text) - countOf(MARKS, text);
}

function countOf(pattern: RegExp, text: string): number {
  return text.match(pattern)?.length ?? 0;
}
