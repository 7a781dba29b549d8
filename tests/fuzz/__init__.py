"""`make fuzz`: hostile requests, drawn from the golden ones and from the CRDs' schemas, against what holds for all."""
