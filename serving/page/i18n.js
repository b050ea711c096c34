// Messages of the page in Korean and English.

const MESSAGES = {
  en: {
    title: "icanvas: draw, and see what it becomes",
    otherLanguage: "한국어",
    models: "What do you want to draw?",
    sheet: "Drawing sheet",
    sheetHelp:
      "Draw with a finger, a pen or the mouse. By keyboard: arrow keys move the pen, the space bar "
      + "puts it down and lifts it, with Shift it takes big steps.",
    tools: "Pens and eraser",
    thin: "Thin pen",
    medium: "Medium pen",
    thick: "Thick pen",
    eraser: "Eraser",
    steps: "Steps",
    undo: "Undo",
    redo: "Redo",
    clear: "New sheet",
    result: "Picture",
    pictureAlt: "The picture made from your drawing",
    save: "Save",
    share: "Share",
    outlines: "Trace one",
    noOutline: "Empty sheet",
    outline: "Outline {number}",
    loading: "One moment …",
    empty: "Draw something. Your picture appears here.",
    working: "Painting …",
    ready: "Your picture is ready.",
    busy: "Many children are painting. You are next soon!",
    too_many: "Phew, you are fast! A little break, then it goes on.",
    no_model: "The paints are still being mixed. You can draw already!",
    offline: "The painter cannot be reached. Your drawing is safe, and we keep trying.",
    not_shown: "That picture stays hidden. Draw on, and something else comes.",
    no_key: "This page needs a key. Please ask a grown-up.",
    rejected: "That did not work. Draw on, and it tries again.",
    retryIn: "again in {seconds} s",
    penDown: "Pen down",
    penUp: "Pen up",
    undone: "Undone",
    redone: "Done again",
    cleared: "The sheet is empty. Undo brings the drawing back.",
    saved: "Saved",
  },
  ko: {
    title: "icanvas: 그리면 그림이 살아나요",
    otherLanguage: "English",
    models: "무엇을 그릴까요?",
    sheet: "도화지",
    sheetHelp:
      "손가락, 펜, 마우스로 그려요. 키보드로는 화살표 키로 펜을 움직이고, 스페이스 바로 펜을 내리거나 들어요. "
      + "Shift를 함께 누르면 크게 움직여요.",
    tools: "펜과 지우개",
    thin: "가는 펜",
    medium: "보통 펜",
    thick: "굵은 펜",
    eraser: "지우개",
    steps: "되돌리기",
    undo: "되돌리기",
    redo: "다시 하기",
    clear: "새 도화지",
    result: "완성 그림",
    pictureAlt: "내 그림으로 만든 완성 그림",
    save: "저장",
    share: "보내기",
    outlines: "따라 그리기",
    noOutline: "빈 도화지",
    outline: "밑그림 {number}",
    loading: "잠깐만요 …",
    empty: "그려 보세요. 여기에 완성 그림이 나타나요.",
    working: "색칠하고 있어요 …",
    ready: "그림이 완성됐어요.",
    busy: "친구들이 많이 그리고 있어요. 곧 차례가 와요!",
    too_many: "우아, 정말 빨라요! 조금만 쉬었다가 할게요.",
    no_model: "아직 물감을 섞고 있어요. 먼저 그려도 괜찮아요!",
    offline: "화가와 연결이 끊겼어요. 그림은 그대로 있고, 계속 다시 해 볼게요.",
    not_shown: "이 그림은 보여 줄 수 없어요. 조금 더 그려 보세요.",
    no_key: "열쇠가 필요해요. 어른에게 물어보세요.",
    rejected: "잘 안 됐어요. 더 그리면 다시 해 볼게요.",
    retryIn: "{seconds}초 뒤에 다시",
    penDown: "펜을 내렸어요",
    penUp: "펜을 들었어요",
    undone: "되돌렸어요",
    redone: "다시 했어요",
    cleared: "새 도화지예요. 되돌리기를 누르면 그림이 돌아와요.",
    saved: "저장했어요",
  },
};

let language = "en";

export const getOtherLanguage = () => (language === "en" ? "ko" : "en");

// Returns the saved language, else the browser's first supported one, else English.
export function detectLanguage(saved) {
  const tags = [saved, ...navigator.languages].filter(Boolean);
  const codes = tags.map((tag) => tag.slice(0, 2).toLowerCase());
  return codes.find((code) => code in MESSAGES) ?? "en";
}

// Returns a message in the current language, with its {placeholders} replaced.
export function getMessage(name, values = {}) {
  return MESSAGES[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

export function setLanguage(code) {
  language = code;
  document.documentElement.lang = language;
  document.title = getMessage("title");
  translate(document);
}

// Translates elements: `data-text` names the message of their text, `data-label` that of their
// label, `data-alt` that of their alternative text.
export function translate(root) {
  for (const element of root.querySelectorAll("[data-text]")) {
    element.textContent = getMessage(element.dataset.text, element.dataset);
  }
  for (const element of root.querySelectorAll("[data-label]")) {
    const label = getMessage(element.dataset.label, element.dataset);
    element.setAttribute("aria-label", label);
    if (element.dataset.tip !== undefined) element.title = label;
  }
  for (const element of root.querySelectorAll("[data-alt]")) {
    element.alt = getMessage(element.dataset.alt, element.dataset);
  }
}
