/* Says in one line that Node is too old. ES5 on purpose, so that an old Node can read it. */
"use strict";
var required = require("../package.json").engines.node.replace(">=", "").split(".");
var actual = process.versions.node.split(".");
if (+actual[0] < +required[0] || (+actual[0] === +required[0] && +actual[1] < +required[1])) {
  process.stderr.write(
    `tulle needs Node ${required.join(".")} or newer; this is Node ${process.versions.node}\n`,
  );
  process.exit(1);
}
