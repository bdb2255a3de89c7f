// One burst through BuilderBot with its own store: node burst.cjs FOLDER-WITH-NODE_MODULES '{"n_messages": …}'
'use strict'
const { createRequire } = require('node:module')
const path = require('node:path')

const [folder, options] = process.argv.slice(2)
const { n_messages: nMessages, n_chats: nChats, n_flows: nFlows, wait_ms: waitMs, concurrency_limit: limit } =
  JSON.parse(options)
const { addKeyword, createBot, createFlow, createProvider, MemoryDB, TestTool } =
  createRequire(path.join(folder, 'package.json'))('@builderbot/bot')

const SILENCE_MS = 2500 // what has not come by then does not come: a handler takes 5 ms at most
const topic = (number) => String(number).padStart(4, '0')
const chat = (number) => `521550${String(number).padStart(7, '0')}`
const tell = console.log
console.log = () => {} // the library talks there

const places = new Map() // user -> places of its answered messages, in the order of the answers
const millis = []
let began = 0
let last = 0

// A chat asks for the topics one after the other, so the answer tells which of its messages it belongs to.
class Customers extends TestTool.TestProvider {
  async sendMessage(user, text) {
    last = performance.now()
    millis.push(last - began)
    const first = Number(user.slice(-7))
    places.get(user).push((((Number(text.slice(-4)) - first) % nFlows) + nFlows) % nFlows)
    return { user, text }
  }
}

function flow(number) {
  const answer = `Respuesta ${topic(number)}`
  const asked = addKeyword([`palabra${topic(number)}`])
  if (!waitMs) return asked.addAnswer(answer)
  return asked.addAction(async (_, { flowDynamic }) => {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * waitMs))
    await flowDynamic(answer)
  })
}

function faults() {
  const perChat = nMessages / nChats
  const found = { lost: 0, doubled: 0, out_of_order: 0 }
  for (const answered of places.values()) {
    const seen = new Set(answered)
    found.lost += perChat - seen.size
    found.doubled += answered.length - seen.size
    let highest = -1
    for (const place of answered) {
      if (place < highest) found.out_of_order++
      highest = Math.max(highest, place)
    }
  }
  return found
}

async function main() {
  const provider = createProvider(Customers)
  const flows = createFlow([...Array(nFlows).keys()].map(flow))
  const queue = limit ? { queue: { timeout: 50000, concurrencyLimit: limit } } : {}
  await createBot({ flow: flows, database: new MemoryDB(), provider }, queue)
  for (let number = 0; number < nChats; number++) places.set(chat(number), [])

  began = last = performance.now()
  for (let number = 0; number < nMessages; number++) {
    const who = number % nChats
    const body = `hola, quiero saber de palabra${topic((who + Math.floor(number / nChats)) % nFlows)}`
    provider.emit('message', { from: chat(who), name: 'customer', body })
  }
  while (millis.length < nMessages && performance.now() - last < SILENCE_MS) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await new Promise((resolve) => setTimeout(resolve, 200)) // for what comes twice

  millis.sort((one, other) => one - other)
  const percentile = (share) => millis[Math.floor(share * (millis.length - 1))]
  tell(
    JSON.stringify({
      per_s: millis.length / ((last - began) / 1000),
      p50_ms: percentile(0.5),
      p99_ms: percentile(0.99),
      peak_mib: process.resourceUsage().maxRSS / 1024,
      ...faults(),
    }),
  )
  process.exit(0)
}

main()
