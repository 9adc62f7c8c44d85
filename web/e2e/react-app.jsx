// A React app that follows boards and posts on them, as one that uses the package would be written.

import { memo, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "@kairanban/client";
import { useBoard } from "@kairanban/client/react";

const client = connect({ heartbeat: 1 });
/** How often each topic was rendered. */
window.rendered = {};

const Topic = memo(({ topic }) => {
  window.rendered[topic.comment] = (window.rendered[topic.comment] ?? 0) + 1;
  return <li>{topic.comment}</li>;
});

function Board({ name }) {
  const { topics, posts, status, post, cancel } = useBoard(client, name);
  const [text, setText] = useState("");
  const send = (event) => {
    event.preventDefault();
    if (post(text)) setText("");
  };
  return (
    <section aria-label={name} data-status={status.name}>
      <form onSubmit={send}>
        <input aria-label="Comment" value={text} onChange={(event) => setText(event.target.value)} />
      </form>
      <ol>
        {topics.map((topic) => (
          <Topic key={topic.id} topic={topic} />
        ))}
        {posts.map(({ key, comment, state, detail }) => (
          <li key={key} data-state={state}>
            {comment} {detail} <button onClick={() => cancel(key)}>Cancel</button>
          </li>
        ))}
      </ol>
    </section>
  );
}

function App() {
  const [boards, setBoards] = useState(["main"]);
  return (
    <>
      <button onClick={() => setBoards(["main", "fair"])}>Both</button>
      <button onClick={() => setBoards([])}>None</button>
      {boards.map((name) => (
        <Board key={name} name={name} />
      ))}
    </>
  );
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
