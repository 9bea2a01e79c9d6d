// Has the owner's wallet sign a grant or a revoke. The owner's key stays in the wallet; the session's never gets here.
import { getWallets } from "@wallet-standard/app";

const CONNECT = "standard:connect";
const SIGN = "solana:signTransaction";
const REJECTED = 4001; // a person said no: EIP-1193, which wallets on Solana use as well
const LEAST_LEFT_MS = 15_000; // a transaction is made anew when less is left to sign and send it

/** Something that a person is told; `unknown` when nobody knows whether the transaction was sent. */
class Told extends Error {
  constructor(message, { rule = "", unknown = false } = {}) {
    super(message);
    this.rule = rule;
    this.unknown = unknown;
  }
}

/**
 * Make the view for delegating work.
 * @param {HTMLElement | null} root its element, with the facts of what is delegated; null on other views
 */
export function delegateWithWallet(root) {
  if (!root) return;
  const { chain, csrf, does, session, owner } = root.dataset;
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const [form, choices, found, toSign, signButton, again, back, outcome] = [
    "form", "wallets", "found", "to-sign", "sign", "again", "back", "outcome",
  ].map(part);
  const wallets = getWallets();
  let draft = null; // what is to be signed
  let chosen = null; // the wallet and its account
  let signed = null; // what the wallet gave back, until the server has said what became of it

  async function post(path, body) {
    let answer;
    try {
      answer = await fetch(path, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": csrf },
        body: JSON.stringify(body),
      });
    } catch {
      throw new Told("The server does not answer.", { unknown: true });
    }
    const told = await answer.json().catch(() => null);
    if (!answer.ok) {
      const text = told?.detail ?? `The server answers ${answer.status}.`;
      throw new Told(text, { rule: told?.rule ?? "", unknown: answer.status >= 500 || told === null });
    }
    if (told === null) throw new Told("The server's answer cannot be read.", { unknown: true });
    return told;
  }

  const asksWallet = (wallet) => CONNECT in wallet.features && SIGN in wallet.features;
  const wallet = () => wallets.get()[Number(new FormData(form).get("wallet"))];

  function showWallets() {
    const before = wallet();
    const shown = [...wallets.get().entries()].filter(([, each]) => asksWallet(each));
    choices.replaceChildren(
      ...shown.map(([number, each]) => {
        const fits = each.chains.includes(chain);
        const input = Object.assign(document.createElement("input"), {
          type: "radio", name: "wallet", value: String(number), required: true, disabled: !fits,
        });
        input.checked = fits && (before === each || (!before && each === shown.find(([, one]) => one.chains.includes(chain))?.[1]));
        const label = document.createElement("label");
        label.append(input, ` ${each.name}${fits ? "" : ` (not on ${chain}: change its network in its settings)`}`);
        return label;
      }),
    );
    const count = shown.length;
    found.textContent = count
      ? `${count === 1 ? "One wallet" : `${count} wallets`} found in this browser.`
      : "No wallet that can sign Solana transactions is in this browser. Install one, such as Phantom, and load this view again.";
  }

  function tell(tone, title, text) {
    const name = document.createElement("b");
    name.textContent = title;
    const words = document.createElement("p");
    words.textContent = text;
    const box = document.createElement("div");
    box.append(name, words);
    outcome.className = `notice ${tone}`;
    outcome.replaceChildren(box);
    outcome.hidden = false;
  }

  /** What the wallet itself said, in words. */
  function toldByWallet(name, error) {
    const refused = error?.code === REJECTED || /reject|declin|denied|cancel/i.test(String(error?.message));
    return new Told(
      refused
        ? `You refused it in ${name}. Nothing was sent; you can sign it later.`
        : `${name} did not sign: ${String(error?.message ?? error).slice(0, 300)}. Nothing was sent.`,
      { rule: "wallet" },
    );
  }

  async function connect() {
    const asked = wallet();
    if (!asked) throw new Told("Choose a wallet first.");
    let accounts;
    try {
      ({ accounts } = await asked.features[CONNECT].connect());
    } catch (error) {
      throw toldByWallet(asked.name, error);
    }
    const fitting = accounts.filter((each) => each.chains.includes(chain) && each.features.includes(SIGN));
    const account = owner ? fitting.find((each) => each.address === owner) : fitting[0];
    if (!account) {
      throw new Told(
        owner
          ? `${asked.name} does not show the account ${owner}, which this session's money belongs to. Choose it in the wallet, and try again.`
          : `${asked.name} has no account on ${chain}.`,
      );
    }
    chosen = { wallet: asked, account };
  }

  const lines = (text) => text.split(/[\s,]+/).filter(Boolean);

  function newDraft() {
    if (does === "revoke") return post("/api/sessions/revokes", { session_id: session });
    if (session) return waiting(session);
    const given = new FormData(form);
    const limit = String(given.get("tx_limit") ?? "").trim();
    const duration = String(given.get("duration") ?? "").trim();
    return post("/api/sessions/grants", {
      agent: String(given.get("agent")).trim(),
      owner: chosen.account.address,
      allowance: String(given.get("allowance")).trim(),
      currency: given.get("currency"),
      ...(limit && { tx_limit: Number(limit) }),
      ...(duration && { duration }),
      hosts: lines(String(given.get("hosts") ?? "")),
    });
  }

  function sameDraftAgain() {
    if (draft.does === "revoke") return post("/api/sessions/revokes", { session_id: draft.session_id });
    return waiting(draft.session_id);
  }

  /** A fresh transaction for a session that waits, or that it waits no more. */
  async function waiting(id) {
    try {
      return await post(`/api/sessions/grants/${id}/transaction`, {});
    } catch (error) {
      if (error.rule !== "granted_already") throw error;
      return post(`/api/sessions/grants/${id}/signed`, {}); // the wallet has sent it, or a server that was stopped
    }
  }

  /** Show what is to be signed; whether it is the same as what was shown before. */
  function show(next) {
    const same = draft !== null && draft.words.join("\n") === next.words.join("\n");
    draft = next;
    signed = null;
    if (next.state !== "to_sign") return same;
    part("wallet-name").textContent = chosen.wallet.name;
    part("words").replaceChildren(
      ...next.words.map((each) => Object.assign(document.createElement("li"), { textContent: each })),
    );
    part("owner").textContent = next.owner;
    part("until").textContent = `Can be signed until about ${new Date(next.valid_until).toLocaleTimeString()}; after that it is made anew.`;
    part("notice").textContent = next.notice ?? "";
    signButton.textContent = `Sign with ${chosen.wallet.name}`;
    form.hidden = true;
    toSign.hidden = false;
    again.hidden = true;
    back.hidden = false;
    return same;
  }

  function done(told) {
    toSign.hidden = true;
    form.hidden = true;
    again.hidden = true;
    const extra = told.notice ? ` (${told.notice})` : "";
    if (told.state === "granted") {
      const until = new Date(told.expires_at).toLocaleString();
      const amount = `${told.allowance.amount} ${told.allowance.currency}`;
      tell("good", "Granted: the chain shows it", `${told.agent} can spend ${amount} until ${until}, locked in ${told.source_account}.${extra}`);
    } else {
      const back = `${told.brought_back.amount} ${told.brought_back.currency}`;
      const what = told.transaction ? `${back} went back to its owner.` : "Nothing of it is left on chain.";
      tell("good", "Revoked", `The session has ended, and its key is destroyed. ${what}${extra}`);
    }
  }

  async function sign() {
    if (Date.parse(draft.valid_until) - Date.now() < LEAST_LEFT_MS && !signed) {
      const next = await sameDraftAgain();
      if (next.state !== "to_sign") return done(next);
      if (!show(next)) throw new Told("It was made anew, and says something else now. Read it again before you sign.");
    }
    if (!signed) signed = await signature();
    const told = await post(`/api/sessions/${draft.does}s/${draft.session_id}/signed`, { transaction: signed });
    signed = null;
    return done(told);
  }

  async function signature() {
    const { wallet: asked, account } = chosen;
    const transaction = Uint8Array.from(atob(draft.transaction), (char) => char.charCodeAt(0));
    try {
      const [output] = await asked.features[SIGN].signTransaction({ account, transaction, chain });
      return btoa(String.fromCharCode(...output.signedTransaction));
    } catch (error) {
      throw toldByWallet(asked.name, error);
    }
  }

  /** Do one step at a time, and say what went wrong. */
  async function step(work) {
    const buttons = root.querySelectorAll("button");
    for (const each of buttons) each.disabled = true;
    outcome.hidden = true;
    try {
      await work();
    } catch (error) {
      const told = error instanceof Told ? error : new Told(`The view itself failed: ${error.message}`);
      if (signed && told.unknown) {
        tell("warn", "It is not known whether it was sent", `${told.message} Ask again: what you signed is sent once at most.`);
        signButton.textContent = "Ask again";
        again.hidden = back.hidden = true; // a second grant could come on top of this one
      } else {
        signed = null;
        tell("bad", "This did not work", told.message);
        again.hidden = toSign.hidden || told.rule === "wallet";
        back.hidden = false;
        if (draft && chosen) signButton.textContent = `Sign with ${chosen.wallet.name}`;
      }
    } finally {
      for (const each of buttons) each.disabled = false;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    step(async () => {
      await connect();
      const next = await newDraft();
      if (next.state === "to_sign") show(next);
      else done(next);
    });
  });
  signButton.addEventListener("click", () => step(sign));
  again.addEventListener("click", () =>
    step(async () => {
      const next = await sameDraftAgain();
      if (next.state === "to_sign") show(next);
      else done(next);
    }),
  );
  back.addEventListener("click", () => {
    toSign.hidden = true;
    outcome.hidden = true;
    form.hidden = false;
  });
  wallets.on("register", showWallets);
  wallets.on("unregister", showWallets);
  showWallets();
  root.hidden = false;
}
