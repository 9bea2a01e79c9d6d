// A click that was meant for what stood there a moment ago decides nothing: the buttons of a question are off for as long
// as a person needs to see that another question has come under the pointer.
const TO_SEE_MS = 800;

const forms = () => [...document.querySelectorAll("form:has(input[name=terms])")];
const questions = () => forms().map((form) => form.getAttribute("action"));
const setOff = (off) => forms().forEach((form) => form.querySelectorAll("button").forEach((button) => (button.disabled = off)));

/** Turn the buttons of questions off for a moment: when the page has come, and when its questions have moved. */
export function guardQuestions() {
  let before = questions();
  let timer = null;
  const wait = () => {
    clearTimeout(timer);
    setOff(true);
    timer = setTimeout(() => {
      timer = null;
      setOff(false);
    }, TO_SEE_MS);
  };
  wait();
  document.addEventListener("htmx:after:swap", () => {
    const now = questions();
    const hasMoved = before.some((each, place) => now[place] !== each); // what comes below them moves nothing
    before = now;
    if (hasMoved) wait();
    else if (timer !== null) setOff(true); // the swap has turned them on
  });
}
