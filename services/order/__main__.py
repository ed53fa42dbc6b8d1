from services.order.main import cli

cli()
