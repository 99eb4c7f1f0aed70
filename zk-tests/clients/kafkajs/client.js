// Drives the library kafkajs. It reads only in consumer groups, so that it produces and administers here.
//
//   client.js BOOTSTRAP RECORDS_FILE (create:TOPIC | produce:CODEC:TOPIC)...
//
// Line i of the file is `key TAB value` and goes to partition i modulo 3. Each action prints one JSON line.
'use strict'
const fs = require('fs')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const { ZstdCodec } = require('zstd-codec')

const PARTITIONS = 3
const BATCH_RECORDS = 2000

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4.compressFrame(encoder.buffer),
  decompress: async buffer => lz4.decompressFrame(buffer),
})

async function installZstd() {
  const zstd = await new Promise(resolve => ZstdCodec.run(resolve))
  const simple = new zstd.Simple()
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async encoder => Buffer.from(simple.compress(encoder.buffer)),
    decompress: async buffer => Buffer.from(simple.decompress(buffer)),
  })
}

const codecs = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

async function main() {
  const [bootstrap, file, ...actions] = process.argv.slice(2)
  const lines = fs.readFileSync(file, 'utf8').trimEnd().split('\n')
  await installZstd()
  const kafka = new Kafka({ clientId: 'kafkajs', brokers: [bootstrap], logLevel: logLevel.ERROR })
  const admin = kafka.admin()
  await admin.connect()
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (const action of actions) {
    const words = action.split(':')
    const out = { action }
    if (words[0] === 'create') {
      const created = await admin.createTopics({ waitForLeaders: true, topics: [{ topic: words[1], numPartitions: PARTITIONS, replicationFactor: 1 }] })
      if (!created) throw new Error(`${action}: the topic was there already`)
      const { topics } = await admin.fetchTopicMetadata({ topics: [words[1]] })
      out.partitions = topics[0].partitions.map(p => p.partitionId).sort()
    } else {
      for (let from = 0; from < lines.length; from += BATCH_RECORDS) {
        const messages = lines.slice(from, from + BATCH_RECORDS).map((line, i) => {
          const tab = line.indexOf('\t')
          return { key: line.slice(0, tab), value: line.slice(tab + 1), partition: (from + i) % PARTITIONS }
        })
        await producer.send({ topic: words[2], acks: -1, compression: codecs[words[1]], messages })
      }
      out.offsets = Object.fromEntries((await admin.fetchTopicOffsets(words[2])).map(o => [o.partition, Number(o.offset)]))
    }
    console.log(JSON.stringify(out))
  }
  await producer.disconnect()
  await admin.disconnect()
}

main().catch(e => {
  console.error(e)
  process.exit(1)
})
