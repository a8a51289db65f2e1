// Calls each function of the service of conformance.md, and prints what came of it, a line of JSON each.
//
//   node spec/second/visit.mjs ws://127.0.0.1:8000/telewire

import { Abort, connect } from "./client.mjs";

const client = await connect(process.argv[2]);

function say(what, value) {
  process.stdout.write(JSON.stringify([what, value], (_, each) => (each instanceof Uint8Array ? [...each] : each)) + "\n");
}

async function all(iterator) {
  const items = [];
  for (;;) {
    const { done, value } = await iterator.next();
    if (done) return [items.length, items.reduce((sum, item) => sum + (item.length ?? item), 0), value ?? null];
    items.push(value);
  }
}

async function outcome(result) {
  try {
    return await result;
  } catch (error) {
    return [error.name, error.name === "INTERNAL" ? error.value.length : error.value];
  }
}

say("add", await client.call("add", 1, 2));
say("named", await client.start("add", [1], { named: { b: 5 } }));
say("echo", await client.call("echo", [null, true, -1, 1.5, "text", Uint8Array.of(1, 2), { deep: [[]] }]));
say("large", (await client.call("echo", new Uint8Array(2_000_000))).length);
say("fail", await outcome(client.call("fail")));
say("abort", await outcome(client.call("abort", { why: [1] })));
say("nowhere", (await outcome(client.call("nowhere")))[0]);
say("wrong", (await outcome(client.call("add", "one", 2)))[0]);
// More than a window, so that the server waits for grants.
say("count", await all(await client.call("count", 5000)));
say("zeros", (await all(await client.call("zeros", 3_000_000)))[1]);
say("later", await (await client.call("later", "kept"))[0]);
say("invoke", await client.call("invoke", (value) => value + 1, 41));
const refuse = () => {
  throw new Abort("not now");
};
say("refused", await outcome(client.call("invoke", refuse, 0)));
const plus = await client.call("adder", 5);
say("adder", [await plus(1), await plus(2)]);
plus.release();
async function* three() {
  yield* [1, 2, 3];
}
say("collect", await client.call("collect", three()));
say("keep", await client.call("keep", Promise.resolve(9)));
say("metadata", await client.start("metadata", [], { metadata: { from: "far" } }));
const forever = client.call("forever");
await client.call("add", 0, 0); // it is on its way
forever.cancel("enough");
say("cancelled", await outcome(forever));
say("late", await outcome(client.start("forever", [], { deadline: 0.05 })));
for await (const item of await client.call("count", 1_000_000)) if (item === 3) break;
say("left", await client.call("add", 1, 1));
say("closed", await client.close());
