// Command franz drives the library franz-go; its command line is that of package records.
package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"zurau.test/clients/records"
)

const deadline = 120 * time.Second

type client struct{ bootstrap string }

func codecs(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.NoCompression(), fmt.Errorf("unknown codec %s", name)
}

func (c client) Produce(codec, topic string, all []records.Record) error {
	chosen, err := codecs(codec)
	if err != nil {
		return err
	}
	kafka, err := kgo.NewClient(
		kgo.SeedBrokers(c.bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(chosen),
		kgo.ProducerLinger(5*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var once sync.Once
	var first error
	for i, r := range all {
		record := &kgo.Record{Topic: topic, Partition: int32(i % records.Partitions), Key: r.Key, Value: r.Value}
		kafka.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				once.Do(func() { first = err })
			}
		})
	}
	if err := kafka.Flush(ctx); err != nil {
		return err
	}
	return first
}

func (c client) Consume(topic string, digest *records.Digest) error {
	starts := map[int32]kgo.Offset{}
	for p := range int32(records.Partitions) {
		starts[p] = kgo.NewOffset().AtStart()
	}
	kafka, err := kgo.NewClient(
		kgo.SeedBrokers(c.bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}),
	)
	if err != nil {
		return err
	}
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for !digest.Complete() {
		fetches := kafka.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			return fmt.Errorf("partition %d: %w", e.Partition, e.Err)
		}
		for _, r := range fetches.Records() {
			if err := digest.Add(r.Partition, r.Offset, r.Key, r.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func main() {
	records.Main(func(bootstrap string) (records.Client, error) { return client{bootstrap}, nil })
}
