"""Events to awaitables, on asyncio and trio; no protocol decisions."""
