// Bundles the page's scripts and styles into autopay/api/page/static/: `npm run build`, which web/build.py calls.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const TARGET = "../autopay/api/page/static";
const BUNDLED = ["htmx.org", "uplot", "@wallet-standard/app", "@wallet-standard/base"];

await build({
  entryPoints: ["src/page.js", "src/page.css"],
  outdir: TARGET,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  legalComments: "none", // their licences are in a file beside them, whole
  logLevel: "warning",
});

const licence = (name) => {
  const folder = `node_modules/${name}`;
  const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  return `${name} ${version} (${license})\n\n${readFileSync(`${folder}/LICENSE`, "utf8").trim()}\n`;
};
writeFileSync(`${TARGET}/licences.txt`, BUNDLED.map(licence).join(`\n${"-".repeat(72)}\n\n`));
copyFileSync("src/icon.svg", `${TARGET}/icon.svg`);
