// Command sarama drives the library sarama; its command line is that of package records. SARAMA_VERSION lets it speak as
// to a broker of that version: message sets of magic 1 below 0.11, of magic 0 below 0.10.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"

	"zurau.test/clients/records"
)

const deadline = 120 * time.Second

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

type client struct{ bootstrap string }

func config() (*sarama.Config, error) {
	c := sarama.NewConfig()
	c.Version = sarama.V3_9_0_0
	if version := os.Getenv("SARAMA_VERSION"); version != "" {
		var err error
		if c.Version, err = sarama.ParseKafkaVersion(version); err != nil {
			return nil, err
		}
		c.ApiVersionsRequest = false
	}
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Return.Successes = true
	c.Producer.Flush.Frequency = 5 * time.Millisecond
	// The order of records is compared, and sarama keeps it across retries only with one request in flight.
	c.Net.MaxOpenRequests = 1
	c.Consumer.Return.Errors = true
	return c, nil
}

func (c client) Produce(codec, topic string, all []records.Record) error {
	chosen, known := codecs[codec]
	if !known {
		return fmt.Errorf("unknown codec %s", codec)
	}
	conf, err := config()
	if err != nil {
		return err
	}
	conf.Producer.Compression = chosen
	producer, err := sarama.NewAsyncProducer([]string{c.bootstrap}, conf)
	if err != nil {
		return err
	}
	defer producer.AsyncClose()
	go func() {
		for i, r := range all {
			producer.Input() <- &sarama.ProducerMessage{
				Topic: topic, Partition: int32(i % records.Partitions),
				Key: sarama.ByteEncoder(r.Key), Value: sarama.ByteEncoder(r.Value),
			}
		}
	}()
	timeout := time.After(deadline)
	for range all {
		select {
		case <-producer.Successes():
		case failed := <-producer.Errors():
			return failed
		case <-timeout:
			return fmt.Errorf("not acknowledged within %s", deadline)
		}
	}
	return nil
}

func (c client) Consume(topic string, digest *records.Digest) error {
	conf, err := config()
	if err != nil {
		return err
	}
	consumer, err := sarama.NewConsumer([]string{c.bootstrap}, conf)
	if err != nil {
		return err
	}
	defer consumer.Close()
	messages := make(chan *sarama.ConsumerMessage, 1024)
	failures := make(chan error, 1)
	done := make(chan struct{})
	defer close(done)
	for p := range int32(records.Partitions) {
		partition, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
		if err != nil {
			return err
		}
		defer partition.Close()
		go func() {
			for {
				select {
				case m, open := <-partition.Messages():
					if !open {
						return
					}
					select {
					case messages <- m:
					case <-done:
						return
					}
				case e, open := <-partition.Errors():
					if !open {
						return
					}
					select {
					case failures <- e:
					default:
					}
				case <-done:
					return
				}
			}
		}()
	}
	timeout := time.After(deadline)
	for !digest.Complete() {
		select {
		case m := <-messages:
			if err := digest.Add(m.Partition, m.Offset, m.Key, m.Value); err != nil {
				return err
			}
		case err := <-failures:
			return err
		case <-timeout:
			return fmt.Errorf("not read within %s", deadline)
		}
	}
	return nil
}

func main() {
	records.Main(func(bootstrap string) (records.Client, error) { return client{bootstrap}, nil })
}
