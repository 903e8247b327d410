"""The bus: what is handed over, what came back, and who keeps the runners."""
