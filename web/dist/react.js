/* kairanban, MIT OR Apache-2.0; made from web/client, do not edit */
import{useMemo as s,useSyncExternalStore as a}from"react";function c(o,r,n){let t=o.board(r,n),e=a(t.subscribe,t.getSnapshot,t.getSnapshot);return s(()=>({...e,post:t.post,resend:t.resend,cancel:t.cancel}),[t,e])}export{c as useBoard};
