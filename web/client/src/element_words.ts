// The element's words, in English and Japanese.

import type { Post, Status } from "./api.js";

interface Words {
  readonly locale: string;
  readonly label: string;
  readonly name: string;
  readonly send: string;
  readonly anonymous: string;
  readonly empty: string;
  readonly edited: string;
  readonly full: string;
  readonly again: string;
  readonly cancel: string;
  readonly discard: string;
  readonly whole: string;
  status(status: Status, seconds: number, time: string): string;
  /** What is said beside a post, where the server has said nothing. */
  post(post: Post, seconds: number): string;
}

const EN: Words = {
  locale: "en",
  label: "Write a notice",
  name: "Name",
  send: "Post",
  anonymous: "Anonymous",
  empty: "Nothing has been posted yet.",
  edited: "edited",
  full: "20 posts are waiting. Please wait for the connection before writing more.",
  again: "Send again",
  cancel: "Cancel",
  discard: "Discard",
  whole: "The whole board",
  status: (status, seconds, time) =>
    ({
      connecting: "Connecting…",
      live: "Live",
      reconnecting: seconds > 0 ? `Back in ${seconds} s` : "Reconnecting…",
      offline: "Offline",
      stale: `As of ${time}`,
      ended:
        status.name === "ended" && status.why === "auth"
          ? "This board can no longer be read here."
          : "There is no such board.",
    })[status.name],
  post: ({ state, code }, seconds) =>
    ({
      sending: "Sending…",
      sent: "Sending…",
      waiting: seconds > 0 ? `Goes out in ${seconds} s` : "Goes out when the connection is back",
      held: "Only you can see this until it is approved.",
      failed:
        code === "expired"
          ? "This has waited for a day. Sent again, it may appear twice."
          : "This was refused.",
    })[state],
};

const JA: Words = {
  locale: "ja",
  label: "投稿を書く",
  name: "名前",
  send: "投稿する",
  anonymous: "匿名",
  empty: "まだ投稿はありません。",
  edited: "編集済み",
  full: "送信待ちが20件になりました。接続が戻るまでお待ちください。",
  again: "もう一度送る",
  cancel: "取り消す",
  discard: "やめる",
  whole: "掲示板を開く",
  status: (status, seconds, time) =>
    ({
      connecting: "接続中…",
      live: "ライブ",
      reconnecting: seconds > 0 ? `${seconds}秒後に再接続` : "再接続しています…",
      offline: "オフライン",
      stale: `${time} 現在`,
      ended:
        status.name === "ended" && status.why === "auth"
          ? "この掲示板は、ここでは読めなくなりました。"
          : "この掲示板はありません。",
    })[status.name],
  post: ({ state, code }, seconds) =>
    ({
      sending: "送信中…",
      sent: "送信中…",
      waiting: seconds > 0 ? `あと${seconds}秒で送ります` : "接続が戻りしだい送ります",
      held: "承認されるまで、ほかの人には見えません。",
      failed:
        code === "expired"
          ? "1日以上たちました。もう一度送ると、二重になることがあります。"
          : "受け付けられませんでした。",
    })[state],
};

export const words = (lang: string): Words => (/^ja\b/i.test(lang) ? JA : EN);
