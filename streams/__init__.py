"""The engine: Faust agents over librdkafka batches. The only place that knows Faust."""
