// Texts and values that are easily damaged on a wire: non-ASCII characters inside and outside of the Basic Multilingual Plane, line breaks, texts that look like framing, characters that forms and scripts escape.

export const TEXTS = ['hello', '', ' ', 'é€😀♥', 'thré♥e', '😀 𝒳 a😀b', '~m~3~m~abc', '\ufffd3\ufffd1::', '3:::x', 'line\nfeed', 'carriage\r\nreturn\r\n',
  '\u0000\u001f\u2028\u2029', 'a+b c%20&d=e', '"\\/', '</script><!--', 'a\\/b'];

/** The values that a client of 0.6 sends as JSON: only objects. */
export const OBJECTS = [{ a: 1 }, { nested: { list: [1, null, 'é€😀♥', {}] } }, { text: '~m~1~m~x' }, {}, { script: '</script>\n' }];

export const JSON_VALUES = [...OBJECTS, [], [1, [2]], 0, -1.5, true, null];

/** Whether a client of this release can read a text packet with this text: clients before 0.8.3 do not recognise one with a line break. */
export const canRead = (release, text) => release.version !== '0.7.11' || !/[\n\r\u2028\u2029]/.test(text);
