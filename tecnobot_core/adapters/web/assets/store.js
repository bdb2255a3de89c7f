// What outlives a reload: chats and unsent messages in this browser, the token in this tab.

const store = {
  read(key, fallback) {
    try {
      return JSON.parse(localStorage.getItem(`tecnobot.${key}`)) ?? fallback;
    } catch {
      return fallback;
    }
  },

  // Where storage is full or forbidden the page works on, until it is reloaded.
  write(key, value) {
    try {
      localStorage.setItem(`tecnobot.${key}`, JSON.stringify(value));
    } catch (error) {
      console.warn("tecnobot: nothing can be stored in this browser", error);
    }
  },

  get token() {
    return sessionStorage.getItem("tecnobot.token") ?? "";
  },

  set token(value) {
    sessionStorage.setItem("tecnobot.token", value);
  },
};

// Not crypto.randomUUID: that exists only on https and localhost.
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The token of an address like /#token=…, taken out of the address bar and the browser's history. */
function tokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    store.token = token;
    history.replaceState(null, "", location.pathname);
  }
}
