// The element's style. The page sets the properties and the parts.

export const STYLE = `
:host{--a:var(--kb-accent,light-dark(#1c5d46,#7fcaa5));--i:var(--kb-ink,light-dark(#201f1b,#ece9de));
--s:var(--kb-sheet,light-dark(#fffdf8,#1d1e1a));--r:var(--kb-rule,light-dark(#e4ded0,#32332c));
display:block;min-width:0;container-type:inline-size;background:var(--s);color:var(--i);
border:1px solid var(--r);border-radius:var(--kb-radius,3px);
font:16px/1.6 var(--kb-font,system-ui,sans-serif);line-break:strict;overflow-wrap:anywhere}
:host([hidden]),[hidden]{display:none}
header,footer,form,li,p{margin:0;padding:.5rem 1rem}
header,footer{display:flex;gap:.5rem;justify-content:space-between;font-size:.875em}
header,form{border-bottom:1px solid var(--r)}
form{display:grid;gap:.5rem}
textarea,input,button{box-sizing:border-box;font:inherit;color:inherit;background:none;
border:1px solid color-mix(in srgb,var(--i) 50%,var(--s));border-radius:6px;padding:.4rem .6rem;min-width:0;min-height:44px}
textarea{field-sizing:content;min-height:4.5em;max-height:50vh;width:100%}
form div{display:flex;gap:.5rem;flex-wrap:wrap}
input{flex:1 1 8rem}
button{cursor:pointer}
form button{background:var(--a);border-color:var(--a);color:var(--kb-on-accent,light-dark(#fff,#0d2118))}
ol{list-style:none;margin:0;padding:0}
li{padding:.75rem 1rem;border-bottom:1px solid var(--r)}
li p{padding:0}
.text{white-space:pre-wrap}
.meta{display:flex;gap:0 .75rem;flex-wrap:wrap;font-size:.8125em;opacity:.8}
.note{padding:.25rem 0 0;font-size:.875em}
.note button{min-height:32px;padding:0 .6rem;margin-inline-start:.5rem}
.failed,[role=alert]{color:light-dark(#a0132f,#ff9ba6)}
a{color:var(--a)}
:focus-visible{outline:2px solid light-dark(#1d4f91,#93b8f4);outline-offset:2px}
@container (min-width:30rem){form div{flex-wrap:nowrap}}`;
