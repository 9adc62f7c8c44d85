import assert from "node:assert/strict";
import { test } from "node:test";
import { type Tab, World } from "./world.js";

/** Of the random test. */
const SEEDS = 60;

for (const secure of [true, false]) {
  const on = secure ? "with Web Locks" : "on plain http";
  const open = async (count: number) => {
    const world = new World({ secure });
    const tabs: Tab[] = [];
    for (let i = 0; i < count; i++) {
      tabs.push(world.tab());
      tabs[i]?.follow();
    }
    await world.clock.pass(1_000);
    return { world, tabs, server: world.server, clock: world.clock };
  };
  const all = (tabs: Tab[], comments: string[]) => {
    for (const tab of tabs) assert.deepEqual([tab.shown, tab.status], [comments, "live"]);
  };
  const leader = (world: World, tabs: Tab[]) => {
    const found = tabs.filter((tab) => tab.alive && tab.streams > 0);
    assert.equal(found.length, 1, "one tab has the stream");
    assert.equal(world.server.streams.size, 1);
    return found[0] as Tab;
  };

  test(`eight tabs have one stream, ${on}`, async () => {
    const { world, tabs, server, clock } = await open(8);
    leader(world, tabs);
    server.post("one");
    await clock.pass(10);
    all(tabs, ["one"]);
    const late = world.tab();
    late.follow();
    await clock.pass(500);
    all([...tabs, late], ["one"]);
    assert.equal(server.streams.size, 1);
  });

  test(`a leader that is closed hands over, and nothing is missed, ${on}`, async () => {
    const { world, tabs, server, clock } = await open(8);
    server.post("before");
    await clock.pass(10);
    for (let round = 0; round < 7; round++) {
      const before = server.opened.length;
      leader(world, tabs).close();
      server.post(`during ${round}`);
      await clock.pass(400);
      all(
        tabs.filter(({ alive }) => alive),
        server.topics("main").map(({ comment }) => comment),
      );
      assert.match(server.opened[before] ?? "", /last_event_id=e1-/);
    }
  });

  test(`a leader that is killed is replaced within ten seconds, ${on}`, async () => {
    const { world, tabs, server, clock } = await open(8);
    server.post("before");
    await clock.pass(10);
    leader(world, tabs).kill();
    server.post("during");
    await clock.pass(secure ? 100 : 10_000);
    all(
      tabs.filter(({ alive }) => alive),
      ["before", "during"],
    );
    leader(world, tabs);
  });

  test(`a leader that is frozen is replaced, and follows when it thaws, ${on}`, async () => {
    const { world, tabs, server, clock } = await open(3);
    const first = leader(world, tabs);
    first.freeze();
    server.post("during");
    await clock.pass(12_000);
    all(
      tabs.filter((tab) => tab !== first),
      ["during"],
    );
    first.thaw();
    await clock.pass(3_000);
    server.post("after");
    await clock.pass(10);
    all(tabs, ["during", "after"]);
    assert.notEqual(leader(world, tabs), first);
  });

  test(`a visible tab takes over from a hidden one, ${on}`, async () => {
    const { world, tabs, server, clock } = await open(3);
    const first = leader(world, tabs);
    first.signal("hidden");
    await clock.pass(5_000);
    assert.notEqual(leader(world, tabs), first);
    server.post("after");
    await clock.pass(10);
    all(tabs, ["after"]);
  });

  test(`if all are hidden, one of them leads, ${on}`, async () => {
    const { world, tabs, server, clock } = await open(3);
    tabs.forEach((tab) => tab.signal("hidden"));
    await clock.pass(60_000);
    leader(world, tabs);
    server.post("after");
    await clock.pass(10);
    assert.deepEqual(
      tabs.map(({ shown }) => shown),
      [["after"], ["after"], ["after"]],
    );
  });

  test(`two leaders become one, ${on}`, async () => {
    const { world, tabs, clock } = await open(5);
    // Each of the visible tabs sees that the leader is hidden.
    leader(world, tabs).signal("hidden");
    await clock.pass(20_000);
    leader(world, tabs);
  });

  test(`the stream has the boards of all tabs, and goes on at the least cursor, ${on}`, async () => {
    const { world, tabs, server, clock } = await open(2);
    server.boards.set("other", new Map());
    server.post("old", "other");
    const page = { cursor: server.cursor(), topics: server.topics("other") };
    for (let i = 0; i < 3; i++) server.post(`main ${i}`);
    server.post("new", "other");
    const third = world.tab();
    third.client.board("other", page);
    third.follow("other");
    await clock.pass(1_000);
    assert.match(
      server.opened.at(-1) ?? "",
      new RegExp(`board=main&board=other&.*last_event_id=${page.cursor}$`),
    );
    const { topics } = third.client.board("other").getSnapshot();
    assert.deepEqual(
      topics.map(({ comment }) => comment),
      ["old", "new"],
    );
    server.post("last");
    await clock.pass(10);
    all(tabs, ["main 0", "main 1", "main 2", "last"]);
    third.close();
    await clock.pass(1_000);
    assert.match(server.opened.at(-1) ?? "", /^\/b\/main\/stream/);
    all(tabs, ["main 0", "main 1", "main 2", "last"]);
  });

  test(`a board without a list comes with it, and the others go on, ${on}`, async () => {
    const { world, tabs, server, clock } = await open(1);
    server.boards.set("other", new Map());
    server.post("main");
    server.post("other", "other");
    await clock.pass(10);
    const late = world.tab();
    late.follow("other");
    await clock.pass(1_000);
    assert.match(server.opened.at(-1) ?? "", /board=main&board=other&.*last_event_id=e1-2~other$/);
    assert.equal(late.client.board("other").getSnapshot().topics.length, 1);
    server.post("again", "other");
    await clock.pass(10);
    assert.equal(late.client.board("other").getSnapshot().topics.length, 2);
    all(tabs, ["main"]);
  });

  test(`who signs in in one tab clears the others, ${on}`, async () => {
    const { tabs, server, clock } = await open(3);
    server.boards.set("staff", new Map());
    server.post("secret", "staff");
    tabs.forEach((tab) => tab.follow("staff"));
    await clock.pass(1_000);
    const staff = () => tabs.map((tab) => tab.client.board("staff").getSnapshot());
    assert.deepEqual(
      staff().map(({ topics }) => topics.length),
      [1, 1, 1],
    );
    server.boards.delete("staff");
    tabs[1]?.client.identify("another");
    await clock.pass(10);
    assert.deepEqual(
      staff().map(({ topics }) => topics.length),
      [0, 0, 0],
    );
    await clock.pass(2_000);
    assert.deepEqual(
      staff().map(({ status }) => status.name),
      ["ended", "ended", "ended"],
    );
    server.post("open");
    await clock.pass(10);
    all(tabs, ["open"]);
  });
}

test("what a frozen leader says when it thaws is not believed", async () => {
  const world = new World();
  const tabs = [world.tab(), world.tab(), world.tab()];
  tabs.forEach((tab) => tab.follow());
  await world.clock.pass(1_000);
  const first = tabs.find((tab) => tab.streams > 0);
  first?.freeze();
  // The browser gives up meanwhile.
  world.server.statuses = [502];
  for (const stream of [...world.server.streams]) stream.break();
  await world.clock.pass(12_000);
  const seen = new Set<string>();
  for (const tab of tabs) {
    if (tab !== first) tab.client.board("main").subscribe(() => seen.add(tab.status));
  }
  first?.thaw();
  world.server.post("after");
  await world.clock.pass(5_000);
  assert.deepEqual([...seen], ["live"]);
});

test("a tab that was left while another signed in does not bring the old reader back", async () => {
  const world = new World();
  const { server, clock } = world;
  const tabs = [1, 2, 3].map(() => world.tab({ identity: "sato" }));
  server.boards.set("staff", new Map());
  server.post("secret", "staff");
  tabs.forEach((tab) => ["main", "staff"].forEach((board) => tab.follow(board)));
  await clock.pass(1_000);
  const left = tabs[2];
  left?.signal("leave");
  server.boards.delete("staff");
  tabs[0]?.client.identify("");
  server.post("open");
  await clock.pass(5_000);
  const seen = new Set<string>();
  tabs[0]?.client.board("main").subscribe(() => seen.add(JSON.stringify(tabs[0]?.shown)));
  left?.signal("return");
  await clock.pass(60_000);
  const staff = left?.client.board("staff").getSnapshot();
  assert.deepEqual([staff?.topics, staff?.status.name], [[], "ended"]);
  assert.deepEqual([...seen].filter((shown) => shown !== '["open"]'), []);
  for (const tab of tabs) assert.deepEqual([tab.shown, tab.status], [["open"], "live"]);
});

test("a tab that was left and is returned to joins again", async () => {
  const world = new World();
  const [one, two] = [world.tab(), world.tab()];
  [one, two].forEach((tab) => tab.follow());
  await world.clock.pass(500);
  one.signal("leave");
  await world.clock.pass(500);
  world.server.post("meanwhile");
  one.signal("return");
  await world.clock.pass(500);
  assert.deepEqual(
    [one.shown, one.status, two.shown, world.server.streams.size],
    [["meanwhile"], "live", ["meanwhile"], 1],
  );
});

test("random tabs come, go, freeze and die, and none misses anything", async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const world = new World({ secure: seed % 2 === 0 });
    world.seed = seed;
    const { server, clock } = world;
    const below = (n: number) => Math.floor(world.random() * n);
    let tabs: Tab[] = [];
    for (let step = 0; step < 60; step++) {
      const tab = tabs[below(tabs.length)];
      const what = below(10);
      if (what < 3 && tabs.length < 6) {
        const added = world.tab();
        added.follow();
        tabs.push(added);
      } else if (what === 3) tab?.close();
      else if (what === 4) tab?.kill();
      else if (what === 5) tab?.signal(tab.visible ? "hidden" : "visible");
      else if (what === 6) tab?.freeze();
      else if (what === 7) tab?.thaw();
      else if (what === 8)
        [...server.streams].forEach((stream) =>
          below(2) ? stream.break() : (stream.silent = true),
        );
      server.post(`${seed} ${step}`);
      tabs = tabs.filter(({ alive }) => alive);
      await clock.pass(below(4_000));
    }
    tabs.forEach((tab) => tab.thaw());
    await world.beat(120_000);
    const comments = server.topics("main").map(({ comment }) => comment);
    for (const tab of tabs)
      assert.deepEqual([tab.shown, tab.status], [comments, "live"], `seed ${seed}`);
    assert.ok(server.streams.size <= 1, `seed ${seed}: ${server.streams.size} streams`);
  }
});
