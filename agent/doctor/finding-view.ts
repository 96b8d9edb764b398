/** Findings of an examination as lines for people. Pure. */

import { escapeText } from "../../ipam/escape.ts";
import { escapeSentence } from "../terminal/error-line.ts";
import type { Style, Terminal } from "../terminal/terminal.ts";
import type { Finding, Verdict } from "./finding.ts";

const STYLES: Readonly<Record<Verdict, Style>> = { ok: "green", warn: "yellow", fail: "red", skip: "dim" };
const VERDICT_WIDTH = 6;
const SUBJECT_WIDTH = 14;

/** A line for each finding, with its remedy below, and a last line with the counts. */
export function formatFindings(findings: readonly Finding[], terminal: Terminal): string {
  const lines = findings.map(({ verdict, subject, message, remedy }) => {
    const head = `${terminal.style(STYLES[verdict], verdict.padEnd(VERDICT_WIDTH))}${escapeText(subject).padEnd(SUBJECT_WIDTH)}${escapeSentence(message)}\n`;
    return remedy === null
      ? head
      : `${head}${" ".repeat(VERDICT_WIDTH + SUBJECT_WIDTH)}→ ${escapeSentence(remedy)}\n`;
  });
  return `${lines.join("")}\n${conclusion(findings)}\n`;
}

function conclusion(findings: readonly Finding[]): string {
  const count = (verdict: Verdict): number =>
    findings.filter((finding) => finding.verdict === verdict).length;
  const [fails, warnings] = [count("fail"), count("warn")];
  if (fails + warnings === 0) return "no problem found";
  return `${fails} failed, ${warnings} ${warnings === 1 ? "warning" : "warnings"}`;
}
