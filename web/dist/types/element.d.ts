export declare class KairanbanBoard extends HTMLElement {
    #private;
    static readonly observedAttributes: string[];
    connectedCallback(): void;
    disconnectedCallback(): void;
    attributeChangedCallback(): void;
}
