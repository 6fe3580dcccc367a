import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams at the same work: {@code KafkaStreamsPeer JOB COMMIT_MS}. Exactly-once (v2), state
 * in memory with a changelog, and the store's cache, so that a conversation is written once for
 * each commit.
 */
public final class KafkaStreamsPeer {
    private static final int LAST = 8;
    private static final int WIRE_BYTES = 5;
    private static final String STORE = "memory";

    private final Schema said;
    private final Schema folded;
    private final int id;

    private KafkaStreamsPeer(JsonNode job) {
        said = schema(job, "said");
        folded = schema(job, "folded");
        id = job.get("ids").get("folded").intValue();
    }

    private static Schema schema(JsonNode job, String name) {
        return new Schema.Parser().parse(job.get("schemas").get(name).toString());
    }

    public static void main(String[] arguments) throws IOException {
        JsonNode job = new ObjectMapper().readTree(Path.of(arguments[0]).toFile());
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, job.get("group").textValue());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, job.get("kafka").textValue());
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, arguments[1]);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, job.get("folder").textValue());
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        KafkaStreamsPeer peer = new KafkaStreamsPeer(job);
        KafkaStreams streams = new KafkaStreams(
                peer.topology(job.get("source").textValue(), job.get("sink").textValue()), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    private Topology topology(String source, String sink) {
        var bytes = Serdes.ByteArray();
        var store = Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore(STORE), bytes, bytes);
        return new Topology()
                .addSource("source", bytes.deserializer(), bytes.deserializer(), source)
                .addProcessor("fold", Fold::new, "source")
                .addStateStore(store.withCachingEnabled(), "fold")
                .addSink("sink", sink, bytes.serializer(), bytes.serializer(), "fold");
    }

    private final class Fold implements Processor<byte[], byte[], byte[], byte[]> {
        private final GenericDatumReader<GenericRecord> readsSaid = new GenericDatumReader<>(said);
        private final GenericDatumReader<GenericRecord> readsFolded =
                new GenericDatumReader<>(folded);
        private final GenericDatumWriter<GenericRecord> writes = new GenericDatumWriter<>(folded);
        private final ByteArrayOutputStream written = new ByteArrayOutputStream();
        private BinaryDecoder decoder;
        private BinaryEncoder encoder;
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<byte[], byte[]> memory;

        @Override
        public void init(ProcessorContext<byte[], byte[]> context) {
            this.context = context;
            this.memory = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            try {
                GenericRecord heard = decode(readsSaid, record.value());
                byte[] known = memory.get(record.key());
                byte[] value = fold(heard, known == null ? null : decode(readsFolded, known));
                memory.put(record.key(), value);
                context.forward(record.withValue(value));
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
        }

        private GenericRecord decode(GenericDatumReader<GenericRecord> reader, byte[] value)
                throws IOException {
            decoder = DecoderFactory.get()
                    .binaryDecoder(value, WIRE_BYTES, value.length - WIRE_BYTES, decoder);
            return reader.read(null, decoder);
        }

        private byte[] fold(GenericRecord heard, GenericRecord before) throws IOException {
            List<Object> last = new ArrayList<>(LAST);
            long count = 0;
            if (before != null) {
                List<?> texts = (List<?>) before.get("last");
                last.addAll(texts.subList(Math.max(0, texts.size() - LAST + 1), texts.size()));
                count = ((Number) before.get("count")).longValue();
            }
            last.add(heard.get("text"));
            GenericRecord after = new GenericData.Record(folded);
            for (String same : List.of("tenant_id", "conversation_id", "number")) {
                after.put(same, heard.get(same));
            }
            after.put("count", count + 1);
            after.put("last", last);
            written.reset();
            written.write(0);
            written.writeBytes(ByteBuffer.allocate(Integer.BYTES).putInt(id).array());
            encoder = EncoderFactory.get().directBinaryEncoder(written, encoder);
            writes.write(after, encoder);
            encoder.flush();
            return written.toByteArray();
        }
    }
}
