/** Text of the outside as inline code of the Web UI's Markdown: nothing in it can become a link or an image. */
export const inlineCode = (text: string): string => `\`${text.replaceAll('`', "'")}\``;
