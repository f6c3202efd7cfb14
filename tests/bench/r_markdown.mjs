// Runs the R code of examples/first-study.Rmd by webR, R compiled for Node, where R is not installed.
//
//   npm install --prefix WEBR webr ws xmlhttprequest-ssl
//   JADFER_WEBR=WEBR node tests/bench/r_markdown.mjs STUDY
//
// STUDY is the folder that the guide's commands have filled: demo.csv, summary.csv. The code checks
// by stopifnot that R and jadfer get the same shares; an error ends this with code 1.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.JADFER_WEBR, "package.json"));
const { WebR } = require("webr");
const page = readFileSync(new URL("../../examples/first-study.Rmd", import.meta.url), "utf8");
const code = [...page.matchAll(/```\{r\}\n([^]*?)```/g)].map((found) => found[1]).join("\n");
const r = new WebR({ interactive: false });
await r.init();
for (const folder of ["/home/web_user/s", "/home/web_user/s/study"]) await r.FS.mkdir(folder);
for (const name of readdirSync(process.argv[2]).filter((name) => name.endsWith(".csv")))
  await r.FS.writeFile(`/home/web_user/s/study/${name}`, readFileSync(join(process.argv[2], name)));
const shelter = await new r.Shelter();
const { output } = await shelter.captureR(`setwd("/home/web_user/s")\n${code}`, { withAutoprint: true });
for (const line of output) console.log(line.data);
process.exit(0);
