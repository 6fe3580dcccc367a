// Takes sessions through the chat page's own code. Sessions come in as JSON, lists of steps: a
// frame, {say: [mid, text]}, or "reload", where the page is left and opened again from what it
// stored. What became of each step goes out, and the talk in the end.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { apply, newTalk, position, say } = await import(pathToFileURL(process.argv[2]));

function take(steps) {
  let talk = newTalk("c");
  const seen = steps.map((step) => {
    let outcome = null;
    if (step === "reload") talk = JSON.parse(JSON.stringify(talk));
    else if (step.say) say(talk, ...step.say);
    else outcome = apply(talk, step);
    return { outcome, position: position(talk), text: talk.turn?.text ?? "" };
  });
  return { talk, seen };
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(take)));
