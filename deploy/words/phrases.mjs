/** The phrases, and what to write in their place. */

/** `is no X` where "no" belongs to a fixed expression. */
const NO_ALLOWED = "longer|more|less|way|need|reason|such|other|effect|default|one";

/** Each pattern is matched without regard to case, as whole words. */
export const PHRASES = [
  [/\banew\b/i, 'write "again", or name the new object'],
  [/\bwho(m)?ever\b/i, "name the program, person or host"],
  [/\baffairs?\b/i, "say what the code reads or changes"],
  [/\b(nobody|somebody|everybody|anybody)('s)?\b/i, "name the process, host, user or peer"],
  [/\bfors(ake|akes|aken|ook)\b/i, 'write "discard"'],
  [/\bknock(s|ed|ing)?\b/i, 'write "probe"'],
  [/\bby itself\b/i, 'write "automatically", or "alone"'],
  [/\bso far as\b/i, "state the condition"],
  [/\bas it were\b/i, "leave it out"],
  [/\band the like\b|\bof the like\b|\bthe like of\b/i, "list the members, or name the class"],
  [/\bin turns\b/i, 'write "alternately"'],
  [/\bwhatever happens\b/i, 'write "always", or name the cases'],
  [/\bwhat is asked for\b/i, "name the request"],
  [/\b(no|nobody's|nothing else's) business\b/i, "say what the code touches"],
  [/\bgives? up hope\b/i, 'write "stops retrying"'],
  [/\bstood in for\b|\bstands? in for\b/i, 'write "fake", or "replaces"'],
  [/\bget on with\b|\bdoes not get on\b/i, "say what fails"],
  [/\bthe dearest\b/i, 'write "the most expensive"'],
  [/\bof its own accord\b/i, 'write "automatically"'],
  [/\bhis\b|\bhers?\b(?! the)/i, "name the owner"],
  [
    new RegExp(`\\b(is|are|was|were) no (?!(${NO_ALLOWED})\\b)[a-z]+`, "i"),
    'write "is not a …", or "there is none"',
  ],
];
