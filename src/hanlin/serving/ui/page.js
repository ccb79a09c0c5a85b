// What the page does in the browser: its language, files from and to the person's own disk.
const hanlin = {
  // What was chosen before, else what the server was told, else what the browser asks for.
  language(given) {
    const chosen = localStorage.getItem("hanlin-language") || given || navigator.language;
    return this.remember(chosen.toLowerCase().startsWith("zh") ? "zh" : "en", false);
  },
  remember(chosen, isKept = true) {
    if (isKept) localStorage.setItem("hanlin-language", chosen);
    document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
    return chosen;
  },
  // Files never lie on the server.
  download(text, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  },
  pick() {
    return new Promise((resolve) => {
      const input = document.createElement("input");
      input.type = "file";
      input.accept = ".json,application/json";
      input.addEventListener("change", async () => resolve(await input.files[0].text()));
      input.addEventListener("cancel", () => resolve(""));
      input.click();
    });
  },
  // Buttons of the chat: copy a message, or edit a question in its place (Enter asks it again).
  onChat(event, trigger) {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    const bubble = button.closest(".bubble");
    const text = bubble.querySelector(".text");
    if (button.dataset.do === "copy") this.copy(text);
    else this.edit(text, (edited) => trigger("edit", { index: bubble.dataset.index, text: edited }));
  },
  copy(element) {
    if (navigator.clipboard) {
      navigator.clipboard.writeText(element.textContent);
      return;
    }
    getSelection().selectAllChildren(element); // a page over plain HTTP has no clipboard
    document.execCommand("copy");
  },
  edit(element, done) {
    const before = element.textContent;
    const end = (text) => {
      element.contentEditable = "false";
      element.onkeydown = element.onblur = null;
      if (text.trim() && text !== before) done(text);
      else element.textContent = before;
    };
    element.contentEditable = "plaintext-only";
    element.focus();
    getSelection().selectAllChildren(element);
    element.onblur = () => end(before);
    element.onkeydown = (event) => {
      if (event.key === "Escape") end(before);
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        end(element.innerText);
      }
    };
  },
};
// Gradio's own words (of its buttons for copying and editing) follow the language chosen before.
(() => {
  const chosen = localStorage.getItem("hanlin-language");
  if (chosen) {
    const tag = chosen === "zh" ? "zh-CN" : "en";
    Object.defineProperty(navigator, "language", { get: () => tag });
    Object.defineProperty(navigator, "languages", { get: () => [tag] });
  }
})();
